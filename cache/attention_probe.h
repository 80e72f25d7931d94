// Adds up what the queries of some steps give to the keys of a sequence: the scores of eviction policies.
//
// Layers with a sliding window are not looked at. Set on a sequence (Sequence::set_observer) while the steps run;
// memory is one float per key, layer and KV head, never a matrix of scores. Threads: as AttentionObserver; the results
// are read between steps.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "cache/attention_observer.h"
#include "cache/sequence.h"

namespace recalld::cache {

struct ProbeRule {
  // Maximum or sum over the query tokens and the query heads of a KV head.
  kernels::WeightReduce reduce = kernels::WeightReduce::kMax;
  // Queries at earlier view positions are not looked at.
  int32_t first_query = 0;
  // Working rows from this view position on take no part, not even in the softmax's sum.
  int32_t end_key = std::numeric_limits<int32_t>::max();
};

class AttentionProbe final : public AttentionObserver {
 public:
  // sequence outlives the probe.
  AttentionProbe(const Sequence& sequence, const ProbeRule& rule);

  void on_queries(int layer, const float* q, int32_t n_tokens, int32_t first_position, int ith, int nth) override;

  // Of the page entries of this head in view order, then the working rows; empty when the layer was not seen.
  const std::vector<float>& weights(int layer, int head) const {
    return weights_[static_cast<size_t>(layer)][static_cast<size_t>(head)];
  }

 private:
  const Sequence& sequence_;
  ProbeRule rule_;
  std::vector<std::vector<std::vector<float>>> weights_;  // [layer][head]
  std::vector<KeyWeightScratch> scratch_;                 // per thread
};

}  // namespace recalld::cache
