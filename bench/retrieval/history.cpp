#include "bench/retrieval/history.h"

#include <utility>

namespace recalld::bench {

Result<History> make_history(Conversation conversation, const episodes::TranscriptFormat& format,
                             runtime::TextEncoder* encoder, int64_t prefix_tokens) {
  History history{std::move(conversation)};
  std::vector<episodes::TurnText> texts;
  int64_t total = 0;
  // Names are known from the turns alone, so the index that strips them needs no vectors.
  RECALLD_ASSIGN_OR_RETURN(const auto names, retrieval::SegmentIndex::create(0));
  for (const Turn& turn : history.conversation.turns) {
    const episodes::TurnText text{turn.role, turn.speaker, turn.text, turn.time_ms};
    RECALLD_ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, format.turn(texts, text));
    texts.push_back(text);
    history.turn_tokens.push_back(static_cast<int32_t>(tokens.size()));
    total += history.turn_tokens.back();
    if (total <= prefix_tokens) history.prefix_turns = texts.size();
    retrieval::SegmentTurn known{turn.speaker, turn.text, {}, {}};
    RECALLD_RETURN_IF_ERROR(names->add({}, {&known, 1}));
    RECALLD_ASSIGN_OR_RETURN(known.vector, encoder->embed(turn.speaker + ": " + turn.text));
    for (const std::string& sentence : retrieval::split_sentences(turn.text)) {
      RECALLD_ASSIGN_OR_RETURN(std::vector<float> vector, encoder->embed(sentence));
      known.sentences.push_back(std::move(vector));
    }
    history.turns.push_back(std::move(known));
  }
  for (const Question& asked : history.conversation.questions) {
    retrieval::Question question{asked.text, texts.back().time_ms, {}, {}};
    RECALLD_ASSIGN_OR_RETURN(question.embedding, encoder->embed(asked.text));
    RECALLD_ASSIGN_OR_RETURN(question.bare_embedding, encoder->embed(names->bare_question(asked.text)));
    history.questions.push_back(std::move(question));
  }
  return history;
}

std::vector<retrieval::Segment> make_segments(const History& history, size_t n_turns, int w) {
  std::vector<retrieval::Segment> segments;
  int64_t token = 0;
  for (size_t i = 0; i < n_turns; ++i) {
    const Turn& turn = history.conversation.turns[i];
    if (i == 0 || segments.back().n_turns == w || turn.session != history.conversation.turns[i - 1].session) {
      segments.push_back({.first_turn = static_cast<int64_t>(i), .token_first = token, .first_ms = turn.time_ms});
    }
    retrieval::Segment& segment = segments.back();
    ++segment.n_turns;
    segment.n_tokens += history.turn_tokens[i];
    segment.last_ms = turn.time_ms;
    segment.text += turn.speaker + ": " + turn.text + "\n";
    token += history.turn_tokens[i];
  }
  return segments;
}

}  // namespace recalld::bench
