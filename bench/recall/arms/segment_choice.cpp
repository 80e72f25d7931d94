#include "bench/recall/arms/segment_choice.h"

#include <algorithm>
#include <numeric>

#include "episodes/segment_vectors.h"
#include "retrieval/fit_view.h"
#include "runtime/gguf_encoder.h"

namespace recalld::bench {
namespace {

float dot(const std::vector<float>& a, const std::vector<float>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

}  // namespace

std::vector<episodes::TurnTokens> trunk_turns(const History& history) {
  std::vector<episodes::TurnTokens> turns;
  for (size_t i = 0; i < history.turns.size(); ++i) {
    const Turn& turn = history.turns[i];
    const TurnTokens& place = history.places[i];
    // The first turn brings what the text starts with.
    const int64_t first = i == 0 ? 0 : std::min(place.words.first, place.header.n > 0 ? place.header.first : INT64_MAX);
    episodes::TurnTokens told{.turn = {turn.role, turn.speaker, turn.text, turn.time_ms}};
    told.tokens.assign(history.tokens.begin() + first, history.tokens.begin() + place.words.end());
    if (place.header.n > 0)
      told.date = {static_cast<int32_t>(place.header.first - first), static_cast<int32_t>(place.header.n)};
    turns.push_back(std::move(told));
  }
  return turns;
}

Result<std::shared_ptr<SegmentChoice>> SegmentChoice::build(const History& history, const std::string& encoder,
                                                            const ChoiceOptions& options) {
  std::shared_ptr<SegmentChoice> choice(new SegmentChoice(history, options));
  RECALLD_ASSIGN_OR_RETURN(choice->encoder_, runtime::open_gguf_encoder(encoder));
  episodes::Segmenter segmenter(options.segments);
  for (const episodes::TurnTokens& turn : trunk_turns(history))
    segmenter.push(turn.turn, static_cast<int32_t>(turn.tokens.size()), turn.date);
  choice->segments_ = segmenter.segments();
  RECALLD_RETURN_IF_ERROR(choice->index_segments());
  choice->outline();
  return choice;
}

Status SegmentChoice::index_segments() {
  RECALLD_ASSIGN_OR_RETURN(index_, retrieval::SegmentIndex::create(encoder_->dim()));
  std::vector<retrieval::SegmentTurn> turns;
  for (const Turn& turn : history_.turns) {
    episodes::SegmentEmbedder embedder({{turn.speaker, turn.text, {}, {}}});
    while (!embedder.done()) RECALLD_RETURN_IF_ERROR(embedder.step(*encoder_));
    retrieval::SegmentTurn known = std::move(embedder.take().front());
    text_held_ += turn.speaker.size() + turn.text.size();
    turn_vectors_.push_back(known.vector);
    turns.push_back(std::move(known));
  }
  for (const retrieval::Segment& segment : segments_) {
    const auto own =
        std::span(turns).subspan(static_cast<size_t>(segment.first_turn), static_cast<size_t>(segment.n_turns));
    RECALLD_RETURN_IF_ERROR(index_->add(segment, own));
    // As they lie in kv.db: the segment's own vector, in halves, and those of its turns.
    vectors_held_ += static_cast<size_t>(encoder_->dim()) * sizeof(uint16_t) + episodes::pack_vectors(own).size();
  }
  return ok_status();
}

void SegmentChoice::outline() {
  const TokenRange first_date = history_.session_header(0);
  int64_t pinned = options_.pinned_tokens;
  if (first_date.n > 0 && first_date.first < pinned) pinned = std::max(pinned, first_date.end());
  outline_.push_back({.token_start = 0, .n_tokens = static_cast<int32_t>(pinned), .pinned = true, .segment = 0});
  for (size_t i = 0; i < segments_.size(); ++i) {
    const retrieval::Segment& segment = segments_[i];
    int64_t at = std::max(segment.token_first, pinned);
    const int64_t end = segment.token_first + segment.n_tokens;
    const TokenRange date = history_.places[static_cast<size_t>(segment.first_turn)].header;
    if (date.n > 0 && date.first == at && date.end() < end) {
      outline_.push_back({.token_start = at,
                          .n_tokens = static_cast<int32_t>(date.n),
                          .segment = static_cast<int32_t>(i),
                          .date = true});
      at = date.end();
    }
    if (end > at)
      outline_.push_back(
          {.token_start = at, .n_tokens = static_cast<int32_t>(end - at), .segment = static_cast<int32_t>(i)});
  }
}

Result<std::vector<TokenRange>> SegmentChoice::choose(const Asked& asked, int64_t budget) {
  retrieval::Question question{.text = asked.question.text, .asked_ms = history_.turns.back().time_ms};
  RECALLD_ASSIGN_OR_RETURN(question.embedding, encoder_->embed(question.text));
  RECALLD_ASSIGN_OR_RETURN(question.bare_embedding, encoder_->embed(index_->bare_question(question.text)));
  RECALLD_ASSIGN_OR_RETURN(const retrieval::Ranking ranking, index_->search(question));

  const size_t recent = retrieval::recent_from(outline_, options_.recent_tokens);
  int64_t room = budget;
  for (size_t i = 0; i < outline_.size(); ++i)
    if (i >= recent || outline_[i].pinned) room -= outline_[i].n_tokens;
  RECALLD_ASSIGN_OR_RETURN(
      const retrieval::FittedView fitted,
      retrieval::fit_view(ranking, segments_, outline_, recent, {.max_tokens = room, .order = options_.order}));
  std::vector<TokenRange> ranges;
  for (const size_t i : fitted.groups) ranges.push_back({outline_[i].token_start, outline_[i].n_tokens});
  return ranges;
}

std::vector<int32_t> SegmentChoice::related(int64_t turn, int32_t n_segments) const {
  std::vector<std::pair<float, int32_t>> scored;
  for (int32_t i = 0; i < n_segments; ++i) {
    const retrieval::Segment& segment = segments_[static_cast<size_t>(i)];
    float best = -1;
    for (int64_t t = segment.first_turn; t < segment.first_turn + segment.n_turns; ++t)
      for (int64_t near = std::max<int64_t>(0, turn - 2); near <= turn; ++near)
        best = std::max(best, dot(turn_vectors_[static_cast<size_t>(t)], turn_vectors_[static_cast<size_t>(near)]));
    scored.emplace_back(-best, i);
  }
  std::sort(scored.begin(), scored.end());
  std::vector<int32_t> order;
  for (const auto& [score, segment] : scored) order.push_back(segment);
  return order;
}

}  // namespace recalld::bench
