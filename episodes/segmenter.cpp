#include "episodes/segmenter.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace recalld::episodes {
namespace {

constexpr size_t kSpaceWithin = 64;  // bytes searched for white space to cut a long text at

std::string line_of(const TurnText& turn, std::string_view text) {
  return (turn.speaker.empty() ? turn.role : turn.speaker) + ": " + std::string(text);
}

// The first good place to cut `text` at or after `at`: after white space if some is near, else between characters.
size_t cut_after(std::string_view text, size_t at) {
  const size_t space = text.substr(at, kSpaceWithin).find_first_of(" \n\t");
  if (space != std::string_view::npos) return at + space + 1;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

Status check_segmenter_options(const SegmenterOptions& options) {
  const auto check = [](const char* name, int32_t value, int32_t least, int32_t most) {
    if (value >= least && value <= most) return ok_status();
    return invalid_argument(std::string(name) + " is " + std::to_string(value) + "; it must be " +
                            std::to_string(least) + " to " + std::to_string(most));
  };
  RECALLD_RETURN_IF_ERROR(check("segment_turns", options.turns, 1, 64));
  return check("segment_tokens", options.max_tokens, 16, 4096);
}

void Segmenter::push(const TurnText& turn, int32_t n_tokens, const DateLine& date) {
  if (date.n > 0) date_lines_.emplace_back(n_tokens_ + date.first, date.n);
  const bool moved = n_turns_ > 0 && time_moves(last_ms_, turn.time_ms);
  if (open_ && (moved || segments_.back().n_tokens + n_tokens > options_.max_tokens)) open_ = false;
  if (n_tokens > options_.max_tokens) {
    push_long(turn, n_tokens);
  } else {
    if (!open_) segments_.push_back({.first_turn = n_turns_, .token_first = n_tokens_});
    retrieval::Segment& segment = segments_.back();
    segment.text += (segment.n_turns == 0 ? "" : "\n") + line_of(turn, turn.text);
    ++segment.n_turns;
    segment.n_tokens += n_tokens;
    if (!segment.first_ms.has_value()) segment.first_ms = turn.time_ms;
    if (turn.time_ms.has_value()) segment.last_ms = turn.time_ms;
    open_ = segment.n_turns < options_.turns;
  }
  last_ms_ = turn.time_ms;
  ++n_turns_;
  n_tokens_ += n_tokens;
}

void Segmenter::push_long(const TurnText& turn, int32_t n_tokens) {
  const int64_t n_parts = (n_tokens + options_.max_tokens - 1) / options_.max_tokens;
  const std::string_view text = turn.text;
  size_t text_at = 0;
  for (int64_t part = 0; part < n_parts; ++part) {
    const int64_t first = part * n_tokens / n_parts, end = (part + 1) * n_tokens / n_parts;
    size_t text_end = text.size();
    if (part + 1 < n_parts)
      text_end =
          cut_after(text, std::max(text_at, text.size() * static_cast<size_t>(end) / static_cast<size_t>(n_tokens)));
    segments_.push_back({n_turns_, 1, n_tokens_ + first, static_cast<int32_t>(end - first), turn.time_ms, turn.time_ms,
                         line_of(turn, text.substr(text_at, text_end - text_at))});
    text_at = text_end;
  }
}

size_t Segmenter::segment_at(int64_t token) const {
  // Segments without tokens share their beginning with the next one; the last of them is meant.
  const auto after = std::upper_bound(segments_.begin(), segments_.end(), token,
                                      [](int64_t t, const retrieval::Segment& s) { return t < s.token_first; });
  return static_cast<size_t>(after - segments_.begin()) - 1;
}

}  // namespace recalld::episodes
