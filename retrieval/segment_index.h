// Which segments of a session bear on a question: a ranking, and the reasons for it.
//
// Everything is scored turn by turn; a segment is as good as its best turn. The score of a turn is the sum of
//   dense       how alike it is to the question: cosine of the whole turn plus the best cosine of one of its sentences,
//               as a z-score over the session's turns
//   lexical     BM25 of the question's words, without stop words and without the names of the speakers; z-score
//   neighbours  a share of the two signals of the turns next to it, up to two away and never over a gap in time; more
//   of
//               it after a turn that asks
//   speaker     the question names one speaker: that speaker's turns
//   time        how near it lies to the dates and times that the question names; for a question "when", turns that name
//               a time
//   episode     a share of the mean of the three best turns of its episode
// with the weights of RankingOptions, which were chosen on two LoCoMo conversations (bench/retrieval). Dense and
// lexical scores are fused as z-scores, which keeps their distances, unlike ranks.
//
// The same segments and question give the same ranking; ties go to the lower index. Not thread-safe: one owner thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "retrieval/dense_index.h"
#include "retrieval/segment.h"
#include "retrieval/time_expression.h"
#include "retrieval/words.h"
#include "storage/text_index.h"

namespace recalld::retrieval {

struct RankingOptions {
  double dense = 1;
  double lexical = 1;
  double dense_near[2] = {0.3, 0.15};    // share of the dense signal of the turns one and two away
  double lexical_near[2] = {0.5, 0.25};  // and of the lexical one
  double after_question = 0.5;           // share of both of the turn before, when it asks
  double speaker = 4;
  double time = 1;
  double when = 1.5;
  double episode = 0;
  storage::Bm25Options bm25;
  DenseOptions search;
};

// One turn of a segment.
struct SegmentTurn {
  std::string speaker;  // empty: unknown, or only a role
  std::string text;
  // Unit vectors: of the whole turn ("<speaker>: <text>"), and of its sentences. Either may be missing: an index
  // without vectors ranks by words alone.
  std::vector<float> vector;
  std::vector<std::vector<float>> sentences;
};

// The sentences of a turn that are worth a vector each: those of two words or more, in order.
std::vector<std::string> split_sentences(std::string_view text);

struct Question {
  std::string text;
  std::optional<int64_t> asked_ms;    // for "yesterday" and the like
  std::vector<float> embedding;       // of text; empty without an encoder
  std::vector<float> bare_embedding;  // of SegmentIndex::bare_question(text); empty: embedding stands in
};

struct Signals {
  double dense = 0, lexical = 0, neighbours = 0, speaker = 0, time = 0, episode = 0;
};

struct RankedSegment {
  size_t segment = 0;              // in the order of adding
  double score = 0;                // the sum of signals
  Signals signals;                 // of the segment's best turn
  std::vector<std::string> words;  // of the question, found in that turn
  std::optional<int64_t> episode;
};

struct Ranking {
  std::vector<RankedSegment> segments;  // all of them, the best first
  // The best score less the best score in any other episode (of any other segment while there are no episodes); 0 when
  // there is no other. In standard deviations of one signal.
  double margin = 0;
  std::string speaker;              // the one speaker that the question names, or ""
  std::vector<TimeInterval> times;  // that it names
};

class SegmentIndex {
 public:
  // dim: of the vectors; 0 for an index without any.
  static Result<std::unique_ptr<SegmentIndex>> create(int32_t dim, const RankingOptions& options = {});
  ~SegmentIndex();
  SegmentIndex(const SegmentIndex&) = delete;
  SegmentIndex& operator=(const SegmentIndex&) = delete;

  size_t size() const;
  bool has_vectors() const { return turn_vectors_ != nullptr; }

  // The next segment of the session, in the order of the transcript. turns: in order; a segment without turns is ranked
  // like an empty turn. kInvalidArgument for vectors that do not fit; the index is then as before.
  Status add(const Segment& segment, std::span<const SegmentTurn> turns, std::optional<int64_t> episode = {});

  // Gives the turns of a segment that was added without vectors theirs: a segment can be found by its words before it
  // is embedded. turns: as many as were added, in order; only their vectors are looked at. kNotFound when there is no
  // such segment; kInvalidArgument for vectors that do not fit, another number of turns, and a segment that has vectors
  // already: the index is then as before. Where all segments get their vectors in one order the ranking is the same,
  // however they were added.
  Status set_vectors(size_t segment, std::span<const SegmentTurn> turns);

  // kNotFound when there is no such segment.
  Status set_episode(size_t segment, std::optional<int64_t> episode);

  // The question without the names of the session's speakers: what sentences, which bear no name, are compared with.
  std::string bare_question(std::string_view text) const;

  // kInvalidArgument for an embedding of another dim. An index without segments gives an empty ranking.
  Result<Ranking> search(const Question& question);

 private:
  struct Turn;
  struct Entry;
  struct Query;
  SegmentIndex(const RankingOptions& options, std::unique_ptr<storage::TextIndex> words);
  Status check(std::span<const SegmentTurn> turns) const;
  Status add_vectors(size_t turn, const SegmentTurn& given);
  std::vector<size_t> speakers_called(const Word& word) const;
  Result<std::vector<double>> dense_scores(const Question& question) const;
  Result<Query> read(const Question& question);
  std::vector<Signals> score_turns(const Query& query) const;
  void add_episodes(std::vector<Signals>* signals) const;

  const RankingOptions options_;
  std::unique_ptr<storage::TextIndex> words_;
  std::unique_ptr<DenseIndex> turn_vectors_, sentence_vectors_;
  std::vector<size_t> vector_turn_, sentence_turn_;  // the turn of each vector
  std::vector<Turn> turns_;
  std::vector<Entry> segments_;
  std::vector<std::string> speakers_;
  std::optional<int64_t> first_ms_, last_ms_;
};

}  // namespace recalld::retrieval
