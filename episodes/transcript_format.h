// How the turns of a transcript become the tokens a model reads. Each turn's tokens depend on that turn and the few
// before it alone, and a longer transcript begins with the tokens of a shorter one: so the cache grows by turns, and
// the same transcript always gives the same tokens.
//
// Two styles:
//   template  the model's chat template; turns have roles. A named speaker's words begin with the date line and name
//             of the plain style.
//   plain     "A conversation:", then "[1:56 pm on 8 May, 2023]" wherever the time has moved by an hour or more, and
//             "<speaker>: <text>" lines; a turn without a speaker is a question or an answer and carries no date. For
//             base models and for conversations between named people.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/chat_template.h"
#include "runtime/tokenizer.h"

namespace recalld::episodes {

struct TurnText {
  std::string role;     // "user", "assistant", "system"
  std::string speaker;  // may be empty
  std::string text;
  std::optional<int64_t> time_ms;
};

// Where the date line lies among a turn's tokens; n = 0 for none.
struct DateLine {
  int32_t first = 0;
  int32_t n = 0;
};

enum class Style { kTemplate, kPlain };

// "template" or "plain"; nothing for any other text.
std::optional<Style> parse_style(std::string_view name);
std::string_view style_name(Style style);

// Whether the time between two neighbouring turns moves so far that a date line is due: an hour or more, backwards, or
// known for the first time.
bool time_moves(const std::optional<int64_t>& before_ms, const std::optional<int64_t>& now_ms);

// "1:56 pm on 8 May, 2023", UTC.
std::string spoken_time(int64_t unix_ms);

class TranscriptFormat {
 public:
  // How many turns before a turn its tokens depend on, at most.
  static constexpr size_t kContextTurns = 2;

  // kUnsupported when style is kTemplate and the model has no usable template; the message says so.
  static Result<TranscriptFormat> create(std::shared_ptr<const runtime::Tokenizer> tokenizer,
                                         const std::string& template_text, Style style);

  Style style() const { return style_; }

  // The tokens before the first turn.
  std::vector<int32_t> start() const;
  // The tokens of a turn. before: the turns just before it, oldest first, at least the last kContextTurns (or all).
  Result<std::vector<int32_t>> turn(std::span<const TurnText> before, const TurnText& turn) const;
  // Which of a turn's tokens (of turn(), also with start() before them) are its date line: all that have a byte of it.
  DateLine date_line(std::span<const TurnText> before, const TurnText& turn, std::span<const int32_t> tokens) const;
  // The tokens that make the model answer after the last turn.
  std::vector<int32_t> answer_prefix() const;
  // Texts that end an answer in this style, besides the caller's.
  std::vector<std::string> stops() const;
  // An answer as it is kept: surrounding white space that the style brings with it is taken off.
  std::string clean_answer(std::string_view text) const;

  // Changes when the tokens of any transcript would.
  std::string version() const;

 private:
  TranscriptFormat(std::shared_ptr<const runtime::Tokenizer> tokenizer, Style style)
      : tokenizer_(std::move(tokenizer)), style_(style) {}

  std::shared_ptr<const runtime::Tokenizer> tokenizer_;
  std::optional<runtime::ChatTemplate> chat_template_;
  Style style_;
};

}  // namespace recalld::episodes
