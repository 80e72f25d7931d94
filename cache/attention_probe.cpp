#include "cache/attention_probe.h"

#include <algorithm>

#include "cache/attention.h"

namespace recalld::cache {

AttentionProbe::AttentionProbe(const Sequence& sequence, const ProbeRule& rule)
    : sequence_(sequence), rule_(rule), scratch_(StepAttention::kMaxThreads) {
  for (const LayerShape& layer : sequence.shape().layers) weights_.emplace_back(static_cast<size_t>(layer.n_kv_heads));
}

void AttentionProbe::on_queries(int layer, const float* q, int32_t n_tokens, int32_t first_position, int ith, int nth) {
  const int32_t skipped = std::clamp(rule_.first_query - first_position, 0, n_tokens);
  if (skipped == n_tokens) return;
  const LayerShape& dims = sequence_.shape().layers[static_cast<size_t>(layer)];
  if (dims.window > 0) return;
  const KeyQueries queries{q + static_cast<ptrdiff_t>(skipped) * dims.n_heads * dims.head_dim, n_tokens - skipped,
                           first_position + skipped};
  for (int head = ith; head < dims.n_kv_heads; head += nth)
    sequence_.weigh_keys(layer, head, queries, rule_.end_key, rule_.reduce, scratch_[static_cast<size_t>(ith)],
                         weights_[static_cast<size_t>(layer)][static_cast<size_t>(head)]);
}

}  // namespace recalld::cache
