// Attention of one KV head over a captured text, for some of its queries: what calibration weighs values with, and
// what it measures codecs by. Plain arithmetic in f32 with f64 sums. Not thread-safe; deterministic.
#pragma once

#include <cstdint>
#include <vector>

#include "cache/shape.h"
#include "episodes/calibration/capture.h"
#include "quant/linear_algebra.h"

namespace recalld::episodes {

// The rows of one head, [n_tokens][head_dim].
std::vector<float> head_rows(const std::vector<float>& rows, int n_heads, int head, int head_dim);

class HeadAttention {
 public:
  // Queries every `step` tokens from first_query on, keys from first_key on; both indices into the capture. Outlived by
  // nothing: it copies what it needs. head: a KV head.
  HeadAttention(const cache::LayerShape& shape, const LayerCapture& rows, int head, int32_t first_key,
                int32_t first_query, int32_t step);

  int32_t n_keys() const { return n_keys_; }
  // Of each key: the sum of the attention that it gets from the queries of the group.
  std::vector<double> summed_weights() const;

  // Outputs of the queries of query head g of the group, [n_queries][head_dim], with these keys and values, each
  // [n_keys][head_dim]; null for the captured ones.
  std::vector<float> outputs(int g, const float* keys, const float* values) const;

  int32_t n_queries() const { return static_cast<int32_t>(positions_.size()); }
  const std::vector<float>& keys() const { return keys_; }
  const std::vector<float>& values() const { return values_; }

 private:
  // Softmax rows, [n_queries][n_keys].
  std::vector<float> weights(int g, const float* keys) const;

  int32_t head_dim_, group_, window_, n_keys_;
  float scale_;
  std::vector<int32_t> positions_;  // of the queries, counted from first_key
  std::vector<float> queries_;      // [group][n_queries][head_dim]
  std::vector<float> keys_, values_;
  std::vector<std::vector<float>> plain_;  // weights of each g over the captured keys
};

}  // namespace recalld::episodes
