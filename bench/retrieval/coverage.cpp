#include "bench/retrieval/coverage.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "retrieval/select.h"

namespace recalld::bench {
namespace {

bool asked_here(const Question& question, size_t n_turns) {
  return (question.category == 1 || question.category == 2 || question.category == 4) && !question.evidence.empty() &&
         question.evidence.back() < static_cast<int>(n_turns);
}

bool covered(const Question& question, std::span<const retrieval::Segment> segments, const retrieval::Choice& choice) {
  std::set<int64_t> turns;
  for (const retrieval::RankedSegment& chosen : choice.segments) {
    const retrieval::Segment& segment = segments[chosen.segment];
    for (int64_t i = 0; i < segment.n_turns; ++i) turns.insert(segment.first_turn + i);
  }
  return std::all_of(question.evidence.begin(), question.evidence.end(),
                     [&](int turn) { return turns.contains(turn); });
}

}  // namespace

Result<Coverage> measure_coverage(std::span<const History> histories, const Arm& arm, int w, bool whole,
                                  std::span<const int64_t> budgets) {
  Coverage coverage;
  std::vector<int> hits(budgets.size(), 0);
  for (const History& history : histories) {
    const size_t n_turns = whole ? history.turns.size() : history.prefix_turns;
    const std::vector<retrieval::Segment> segments = make_segments(history, n_turns, w);
    RECALLD_ASSIGN_OR_RETURN(
        const auto index,
        retrieval::SegmentIndex::create(static_cast<int32_t>(history.turns.front().vector.size()), arm.options));
    for (const retrieval::Segment& segment : segments) {
      std::vector<retrieval::SegmentTurn> turns(history.turns.begin() + segment.first_turn,
                                                history.turns.begin() + segment.first_turn + segment.n_turns);
      if (!arm.sentences)
        for (retrieval::SegmentTurn& turn : turns) turn.sentences.clear();
      RECALLD_RETURN_IF_ERROR(index->add(segment, turns));
    }
    for (size_t q = 0; q < history.questions.size(); ++q) {
      const Question& question = history.conversation.questions[q];
      if (!asked_here(question, n_turns)) continue;
      ++coverage.n_questions;
      RECALLD_ASSIGN_OR_RETURN(const retrieval::Ranking ranking, index->search(history.questions[q]));
      for (size_t b = 0; b < budgets.size(); ++b) {
        RECALLD_ASSIGN_OR_RETURN(const retrieval::Choice choice,
                                 retrieval::select(ranking, segments, {.max_tokens = budgets[b]}));
        hits[b] += covered(question, segments, choice) ? 1 : 0;
      }
    }
  }
  for (const int hit : hits)
    coverage.share.push_back(coverage.n_questions > 0 ? static_cast<double>(hit) / coverage.n_questions : 0);
  return coverage;
}

}  // namespace recalld::bench
