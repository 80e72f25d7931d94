#include "episodes/transcript_format.h"

#include <algorithm>
#include <ctime>

#include "base/clock.h"

namespace recalld::episodes {
namespace {

constexpr int64_t kHeaderGapMs = 3'600'000;

// The date line before a turn, or nothing when the time is unknown or has hardly moved. Questions and answers carry
// none: the same question must be the same tokens a minute later.
std::string date_header(std::span<const TurnText> before, const TurnText& turn) {
  if (!turn.time_ms.has_value() || turn.speaker.empty()) return {};
  if (!before.empty() && !time_moves(before.back().time_ms, turn.time_ms)) return {};
  return "[" + spoken_time(*turn.time_ms) + "]\n";
}

std::string plain_line(const TurnText& turn) {
  if (!turn.speaker.empty()) return turn.speaker + ": " + turn.text + "\n";
  if (turn.role == "user") return "\nQuestion: " + turn.text + "\n";
  if (turn.role == "assistant") return "Answer: " + turn.text + "\n";
  return turn.text + "\n";
}

runtime::ChatMessage chat_message(std::span<const TurnText> before, const TurnText& turn) {
  std::string content = date_header(before, turn);
  if (!turn.speaker.empty()) content += turn.speaker + ": ";
  return {turn.role, content + turn.text};
}

}  // namespace

std::optional<Style> parse_style(std::string_view name) {
  if (name == "template") return Style::kTemplate;
  if (name == "plain") return Style::kPlain;
  return std::nullopt;
}

std::string_view style_name(Style style) { return style == Style::kTemplate ? "template" : "plain"; }

bool time_moves(const std::optional<int64_t>& before_ms, const std::optional<int64_t>& now_ms) {
  if (!now_ms.has_value()) return false;
  return !before_ms.has_value() || *now_ms < *before_ms || *now_ms - *before_ms >= kHeaderGapMs;
}

std::string spoken_time(int64_t unix_ms) {
  const auto seconds = static_cast<std::time_t>(unix_ms >= 0 ? unix_ms / 1000 : (unix_ms - 999) / 1000);
  std::tm utc{};
  if (gmtime_r(&seconds, &utc) == nullptr) return "an unknown time";
  const int hour = utc.tm_hour % 12 == 0 ? 12 : utc.tm_hour % 12;
  return std::to_string(hour) + (utc.tm_min < 10 ? ":0" : ":") + std::to_string(utc.tm_min) +
         (utc.tm_hour < 12 ? " am" : " pm") + " on " + std::to_string(utc.tm_mday) + " " +
         std::string(month_name(utc.tm_mon + 1)) + ", " + std::to_string(utc.tm_year + 1900);
}

Result<TranscriptFormat> TranscriptFormat::create(std::shared_ptr<const runtime::Tokenizer> tokenizer,
                                                  const std::string& template_text, Style style) {
  TranscriptFormat format(std::move(tokenizer), style);
  if (style == Style::kTemplate) {
    RECALLD_ASSIGN_OR_RETURN(format.chat_template_, runtime::ChatTemplate::create(template_text));
  }
  return format;
}

std::vector<int32_t> TranscriptFormat::start() const {
  std::vector<int32_t> tokens = tokenizer_->prompt_start();
  if (style_ == Style::kPlain) {
    const std::vector<int32_t> intro = tokenizer_->tokenize("A conversation:\n");
    tokens.insert(tokens.end(), intro.begin(), intro.end());
  }
  return tokens;
}

Result<std::vector<int32_t>> TranscriptFormat::turn(std::span<const TurnText> before, const TurnText& turn) const {
  if (style_ == Style::kPlain) {
    const std::string header = date_header(before, turn);
    return tokenizer_->tokenize((header.empty() ? "" : "\n" + header) + plain_line(turn));
  }
  const std::span<const TurnText> context = before.last(std::min(before.size(), kContextTurns));
  std::vector<runtime::ChatMessage> messages;
  for (size_t i = 0; i < context.size(); ++i) {
    const size_t seen = before.size() - context.size() + i;
    messages.push_back(chat_message(before.first(seen), context[i]));
  }
  RECALLD_ASSIGN_OR_RETURN(const auto segments, chat_template_->render_turn(messages, chat_message(before, turn)));
  return tokenizer_->tokenize(segments);
}

DateLine TranscriptFormat::date_line(std::span<const TurnText> before, const TurnText& turn,
                                     std::span<const int32_t> tokens) const {
  const std::string header = date_header(before, turn);
  if (header.empty()) return {};
  // What stands before the line is markup and shorter than any text: it is found at its first occurrence.
  std::string text;
  std::vector<size_t> ends;
  size_t found = std::string::npos;
  for (const int32_t token : tokens) {
    text += tokenizer_->piece(token);
    ends.push_back(text.size());
    if (found == std::string::npos) found = text.find(header);
    if (found != std::string::npos) break;
  }
  if (found == std::string::npos) return {};
  const auto first = std::upper_bound(ends.begin(), ends.end(), found) - ends.begin();
  return {static_cast<int32_t>(first), static_cast<int32_t>(std::ssize(ends) - first)};
}

std::vector<int32_t> TranscriptFormat::answer_prefix() const {
  if (style_ == Style::kPlain) return tokenizer_->tokenize("Answer:");
  const std::vector<runtime::TextSegment> prefix{{chat_template_->generation_prefix(), true}};
  return tokenizer_->tokenize(prefix);
}

std::vector<std::string> TranscriptFormat::stops() const {
  if (style_ == Style::kPlain) return {"\n"};
  return {};
}

std::string TranscriptFormat::clean_answer(std::string_view text) const {
  if (style_ != Style::kPlain) return std::string(text);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\n')) text.remove_suffix(1);
  return std::string(text);
}

std::string TranscriptFormat::version() const { return std::string(style_name(style_)) + "-2"; }

}  // namespace recalld::episodes
