#include "bench/retrieval/history.h"

#include <utility>

#include "episodes/segment_vectors.h"
#include "episodes/segmenter.h"

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
    episodes::SegmentEmbedder embedder({std::move(known)});
    while (!embedder.done()) RECALLD_RETURN_IF_ERROR(embedder.step(*encoder));
    history.turns.push_back(std::move(embedder.take().front()));
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
  // No segment of these conversations is so long that it would be cut.
  episodes::Segmenter segmenter({.turns = w, .max_tokens = 4096});
  for (size_t i = 0; i < n_turns; ++i) {
    const Turn& turn = history.conversation.turns[i];
    segmenter.push({turn.role, turn.speaker, turn.text, turn.time_ms}, history.turn_tokens[i]);
  }
  return segmenter.segments();
}

}  // namespace recalld::bench
