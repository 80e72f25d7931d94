#include "bench/recall/history.h"

#include <algorithm>
#include <span>

namespace recalld::bench {
namespace {

using episodes::TurnText;

std::string header_text(const Turn& turn) { return turn.date.empty() ? "" : "\n[" + turn.date + "]\n"; }

bool begins_session(const std::vector<Turn>& turns, size_t i) {
  return i == 0 || turns[i].session != turns[i - 1].session;
}

class Builder {
 public:
  Builder(const Conversation& conversation, const runtime::Tokenizer& tokenizer, const HistoryOptions& options)
      : conversation_(conversation), tokenizer_(tokenizer), options_(options) {}

  Status read_turns(const episodes::TranscriptFormat& format) {
    append(format.start());
    history_.start = {0, static_cast<int64_t>(history_.tokens.size())};
    std::vector<TurnText> before;
    for (size_t i = 0; i < conversation_.turns.size(); ++i) {
      const Turn& turn = conversation_.turns[i];
      TurnText text{turn.role, turn.speaker, turn.text, turn.time_ms};
      RECALLD_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, format.turn(before, text));
      if (options_.max_tokens > 0 && static_cast<int64_t>(history_.tokens.size() + tokens.size()) > options_.max_tokens)
        break;
      const std::string header = begins_session(conversation_.turns, i) ? header_text(turn) : "";
      const std::string expected = header + turn.speaker + ": " + turn.text + "\n";
      if (tokenizer_.detokenize(tokens) != expected)
        return internal_error("turn " + std::to_string(i) + " of " + conversation_.id + " reads \"" +
                              tokenizer_.detokenize(tokens) + "\" instead of \"" + expected + "\"");
      add_turn(turn, header, tokens);
      before.push_back(std::move(text));
    }
    return history_.turns.empty() ? invalid_argument("not even one turn fits the prefix; raise --prefix") : ok_status();
  }

  void cut_segments() {
    for (size_t i = 0; i < history_.turns.size(); ++i) {
      auto& segments = history_.segments;
      if (begins_session(history_.turns, i) || segments.back().n_turns == options_.segment_turns)
        segments.push_back({.first_turn = static_cast<int64_t>(i), .token_first = first_token(history_.places[i])});
      retrieval::Segment& segment = segments.back();
      const Turn& turn = history_.turns[i];
      ++segment.n_turns;
      segment.n_tokens = static_cast<int32_t>(history_.places[i].words.end() - segment.token_first);
      if (!segment.first_ms.has_value()) segment.first_ms = turn.time_ms;
      if (turn.time_ms.has_value()) segment.last_ms = turn.time_ms;
      segment.text += turn.speaker + ": " + turn.text + "\n";
    }
  }

  void choose_questions() {
    for (const Question& question : conversation_.questions) {
      const auto& wanted = options_.categories;
      if (std::find(wanted.begin(), wanted.end(), question.category) == wanted.end()) continue;
      if (question.gold.empty() || question.evidence.empty()) continue;
      if (question.evidence.back() >= static_cast<int>(history_.turns.size())) continue;
      Asked asked{.question = question,
                  .prompt = tokenizer_.tokenize("\nQuestion: " + question.text + "\nAnswer:"),
                  .gold = tokenizer_.tokenize(" " + question.gold)};
      history_.questions.push_back(std::move(asked));
    }
    thin_out();
  }

  History finish() {
    history_.id = conversation_.id;
    history_.digest = digest128(std::as_bytes(std::span(history_.tokens)));
    return std::move(history_);
  }

 private:
  void thin_out() {
    const size_t n = history_.questions.size(), wanted = static_cast<size_t>(options_.limit);
    if (wanted == 0 || wanted >= n) return;
    std::vector<Asked> kept;
    for (size_t i = 0; i < wanted; ++i) kept.push_back(std::move(history_.questions[i * n / wanted]));
    history_.questions = std::move(kept);
  }

  static int64_t first_token(const TurnTokens& place) {
    return place.header.n > 0 ? place.header.first : place.words.first;
  }

  void append(const std::vector<int32_t>& tokens) {
    history_.tokens.insert(history_.tokens.end(), tokens.begin(), tokens.end());
  }

  void add_turn(const Turn& turn, const std::string& header, const std::vector<int32_t>& tokens) {
    const auto first = static_cast<int64_t>(history_.tokens.size());
    const std::vector<int32_t> line = header.empty() ? std::vector<int32_t>{} : tokenizer_.tokenize(header);
    // A date line that is not a whole number of tokens belongs to the turn.
    const bool apart = line.size() < tokens.size() && std::equal(line.begin(), line.end(), tokens.begin());
    const auto n_header = static_cast<int64_t>(apart ? line.size() : 0);
    append(tokens);
    history_.places.push_back(
        {.header = {first, n_header}, .words = {first + n_header, static_cast<int64_t>(tokens.size()) - n_header}});
    history_.turns.push_back(turn);
  }

  const Conversation& conversation_;
  const runtime::Tokenizer& tokenizer_;
  const HistoryOptions& options_;
  History history_;
};

}  // namespace

TokenRange History::session_header(int turn) const {
  for (int i = turn; i >= 0; --i) {
    const auto at = static_cast<size_t>(i);
    if (turns[at].session != turns[static_cast<size_t>(turn)].session) break;
    if (places[at].header.n > 0) return places[at].header;
  }
  return {};
}

std::vector<int> History::segments_of(const std::vector<int>& wanted) const {
  std::vector<int> found;
  for (size_t i = 0; i < segments.size(); ++i) {
    const int64_t first = segments[i].first_turn;
    const bool holds = std::any_of(wanted.begin(), wanted.end(),
                                   [&](int turn) { return turn >= first && turn < first + segments[i].n_turns; });
    if (holds) found.push_back(static_cast<int>(i));
  }
  return found;
}

std::vector<TokenRange> History::words_of(const std::vector<int>& wanted) const {
  std::vector<TokenRange> ranges;
  ranges.reserve(wanted.size());
  for (const int turn : wanted) ranges.push_back(places[static_cast<size_t>(turn)].words);
  return ranges;
}

Result<History> make_history(const Conversation& conversation,
                             const std::shared_ptr<const runtime::Tokenizer>& tokenizer,
                             const HistoryOptions& options) {
  RECALLD_ASSIGN_OR_RETURN(const auto format,
                           episodes::TranscriptFormat::create(tokenizer, "", episodes::Style::kPlain));
  Builder builder(conversation, *tokenizer, options);
  RECALLD_RETURN_IF_ERROR(builder.read_turns(format));
  builder.cut_segments();
  builder.choose_questions();
  return builder.finish();
}

}  // namespace recalld::bench
