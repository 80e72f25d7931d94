// Which segments of a history bear on a question, by retrieval/: shared by ours and text_rag.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/recall/arms/arm.h"
#include "episodes/trunk.h"
#include "retrieval/compose.h"
#include "retrieval/segment_index.h"
#include "retrieval/select.h"
#include "runtime/text_encoder.h"

namespace recalld::bench {

struct ChoiceOptions {
  episodes::SegmenterOptions segments;
  int32_t pinned_tokens = 16;
  int32_t recent_tokens = 128;  // the newest, in every view
  retrieval::ViewOrder order = retrieval::ViewOrder::kBestLast;
};

class SegmentChoice {
 public:
  // history outlives the object. Errors of opening the encoder (a GGUF) and of embedding.
  static Result<std::shared_ptr<SegmentChoice>> build(const History& history, const std::string& encoder,
                                                      const ChoiceOptions& options);

  // What a question sees, in the order of the view: the first tokens, the best segments with their date lines, the
  // newest tokens; at most `budget` tokens in all. The time of asking is that of the last turn.
  Result<std::vector<TokenRange>> choose(const Asked& asked, int64_t budget);

  // Earlier segments by how alike they are to a turn about to be read and the two before it; the most alike first.
  std::vector<int32_t> related(int64_t turn, int32_t n_segments) const;

  const std::vector<retrieval::Segment>& segments() const { return segments_; }
  // Bytes of the vectors at rest, and of the turns' words.
  size_t vectors_held() const { return vectors_held_; }
  size_t text_held() const { return text_held_; }

 private:
  SegmentChoice(const History& history, const ChoiceOptions& options) : history_(history), options_(options) {}
  Status index_segments();
  void outline();

  const History& history_;
  ChoiceOptions options_;
  std::unique_ptr<runtime::TextEncoder> encoder_;
  std::vector<retrieval::Segment> segments_;
  std::unique_ptr<retrieval::SegmentIndex> index_;
  std::vector<std::vector<float>> turn_vectors_;
  std::vector<retrieval::PageGroup> outline_;  // as a trunk's, without pages
  size_t vectors_held_ = 0, text_held_ = 0;
};

// The turns as a trunk is told of them.
std::vector<episodes::TurnTokens> trunk_turns(const History& history);

}  // namespace recalld::bench
