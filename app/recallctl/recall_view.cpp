#include "app/recallctl/recall_view.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>

#include "app/recallctl/api.h"
#include "app/recallctl/draw.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

std::string counted(int64_t count, const char* what) {
  return fmt::format("{} {}{}", count_text(count), what, count == 1 ? "" : "s");
}

std::string episode_name(const json::object& episode) {
  return fmt::format("#{} {} ({})", int_of(episode, "id"), string_of(episode, "title", "(no title)"),
                     span_text(time_of(episode, "first"), time_of(episode, "last")));
}

// Segments of the recall in this episode.
int64_t segments_in(const json::array& segments, int64_t episode) {
  int64_t count = 0;
  for (const json::value& segment : segments)
    if (segment.is_object() && int_of(segment.as_object(), "episode", -1) == episode) ++count;
  return count;
}

// The episode with the most of the segments, and how many others there are.
std::string episode_names(const json::array& episodes, const json::array& segments) {
  const json::object* main = nullptr;
  int64_t most = 0, others = -1;
  for (const json::value& value : episodes) {
    if (!value.is_object()) continue;
    ++others;
    const int64_t count = segments_in(segments, int_of(value.as_object(), "id", -1));
    if (main != nullptr && count <= most) continue;
    main = &value.as_object();
    most = count;
  }
  if (main == nullptr) return "";
  return ": " + episode_name(*main) + (others > 0 ? " and " + counted(others, "more episode") : "");
}

}  // namespace

std::string recall_line(const json::object& recall) {
  if (recall.empty()) return "no report";
  std::string line =
      fmt::format("{:.0f} ms to the first token; {} tokens from memory, {} read", number_of(recall, "first_token_ms"),
                  count_text(int_of(recall, "tokens_reused")), count_text(int_of(recall, "tokens_read")));
  if (const int64_t pending = int_of(recall, "tokens_pending"); pending > 0)
    line += fmt::format(", {} not in memory yet", count_text(pending));
  if (const int64_t bytes = int_of(recall, "view_bytes"); bytes > 0)
    line +=
        fmt::format("; {} of memory, {} in 16 bits", bytes_text(bytes), bytes_text(int_of(recall, "view_f16_bytes")));
  if (const double speed = number_of(recall, "decode_tokens_per_s"); speed > 0)
    line += fmt::format("; {:.0f} tokens/s", speed);
  return line;
}

std::string recall_summary(const json::object& recall, const Look& look) {
  const std::string chosen_by = string_of(recall, "chosen_by");
  if (string_of(recall, "session").empty() || chosen_by.empty()) return "";
  std::string line;
  if (chosen_by == "all") {
    line = fmt::format("recalled the whole history, {}", counted(int_of(recall, "tokens_reused"), "token"));
  } else if (chosen_by == "question") {
    const json::array& segments = array_of(recall, "segments");
    line = fmt::format("recalled {}, {}, in {:.0f} ms{}", counted(static_cast<int64_t>(segments.size()), "segment"),
                       counted(int_of(recall, "chosen_tokens"), "token"), number_of(recall, "search_ms"),
                       episode_names(array_of(recall, "episodes"), segments));
  } else {
    line = fmt::format("recalled the newest {} tokens alone", count_text(int_of(recall, "recent_tokens")));
  }
  return without_trailing_spaces(cell(line, look.columns - 1, look));
}

}  // namespace recalld::recallctl
