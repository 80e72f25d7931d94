#include "episodes/calibration/layer_attention.h"

#include <algorithm>
#include <cmath>

namespace recalld::episodes {

std::vector<float> head_rows(const std::vector<float>& rows, int n_heads, int head, int head_dim) {
  const auto d = static_cast<size_t>(head_dim), stride = static_cast<size_t>(n_heads) * d;
  std::vector<float> out(rows.size() / static_cast<size_t>(n_heads));
  for (size_t token = 0; token * stride < rows.size(); ++token)
    std::copy_n(rows.data() + token * stride + static_cast<size_t>(head) * d, d, out.data() + token * d);
  return out;
}

HeadAttention::HeadAttention(const cache::LayerShape& shape, const LayerCapture& rows, int head, int32_t first_key,
                             int32_t first_query, int32_t step)
    : head_dim_(shape.head_dim), group_(shape.n_heads / shape.n_kv_heads), window_(shape.window), scale_(shape.scale) {
  const auto d = static_cast<size_t>(head_dim_);
  keys_ = head_rows(rows.k, shape.n_kv_heads, head, head_dim_);
  values_ = head_rows(rows.v, shape.n_kv_heads, head, head_dim_);
  const auto skip = static_cast<ptrdiff_t>(static_cast<size_t>(first_key) * d);
  keys_.erase(keys_.begin(), keys_.begin() + skip);
  values_.erase(values_.begin(), values_.begin() + skip);
  n_keys_ = static_cast<int32_t>(keys_.size() / d);
  for (int32_t at = first_query - first_key; at < n_keys_; at += step) positions_.push_back(at);
  for (int g = 0; g < group_; ++g)
    for (const int32_t at : positions_) {
      const float* from =
          rows.q.data() + (static_cast<size_t>(at + first_key) * static_cast<size_t>(shape.n_heads) +
                           static_cast<size_t>(head) * static_cast<size_t>(group_) + static_cast<size_t>(g)) *
                              d;
      queries_.insert(queries_.end(), from, from + d);
    }
  for (int g = 0; g < group_; ++g) plain_.push_back(weights(g, keys_.data()));
}

std::vector<float> HeadAttention::weights(int g, const float* keys) const {
  const auto d = static_cast<size_t>(head_dim_), n = static_cast<size_t>(n_keys_);
  // Dims outside, keys inside: the additions of a score are in order of the dims, and many keys go at once.
  std::vector<float> by_dim(d * n);
  for (size_t key = 0; key < n; ++key)
    for (size_t dim = 0; dim < d; ++dim) by_dim[dim * n + key] = keys[key * d + dim];
  std::vector<float> out(positions_.size() * n);
  for (size_t row = 0; row < positions_.size(); ++row) {
    const float* query = queries_.data() + (static_cast<size_t>(g) * positions_.size() + row) * d;
    float* scores = out.data() + row * n;
    const auto end = static_cast<size_t>(positions_[row]) + 1;
    const size_t begin = window_ > 0 && end > static_cast<size_t>(window_) ? end - static_cast<size_t>(window_) : 0;
    for (size_t dim = 0; dim < d; ++dim) {
      const float factor = query[dim] * scale_;
      const float* from = by_dim.data() + dim * n;
      for (size_t key = begin; key < end; ++key) scores[key] += factor * from[key];
    }
    const float top = *std::max_element(scores + begin, scores + end);
    double sum = 0;
    for (size_t key = begin; key < end; ++key) {
      scores[key] = std::exp(scores[key] - top);
      sum += scores[key];
    }
    const auto inverse = static_cast<float>(1 / sum);
    for (size_t key = begin; key < end; ++key) scores[key] *= inverse;
  }
  return out;
}

std::vector<double> HeadAttention::summed_weights() const {
  std::vector<double> sums(static_cast<size_t>(n_keys_));
  for (const std::vector<float>& rows : plain_)
    for (size_t i = 0; i < rows.size(); ++i) sums[i % sums.size()] += rows[i];
  return sums;
}

std::vector<float> HeadAttention::outputs(int g, const float* keys, const float* values) const {
  const auto d = static_cast<size_t>(head_dim_), n = static_cast<size_t>(n_keys_);
  const std::vector<float> coded = keys != nullptr ? weights(g, keys) : std::vector<float>();
  const std::vector<float>& rows = keys != nullptr ? coded : plain_[static_cast<size_t>(g)];
  const float* from = values != nullptr ? values : values_.data();
  std::vector<float> out(positions_.size() * d);
  for (size_t row = 0; row < positions_.size(); ++row)
    for (size_t key = 0; key <= static_cast<size_t>(positions_[row]); ++key) {
      const float weight = rows[row * n + key];
      if (weight == 0) continue;
      for (size_t dim = 0; dim < d; ++dim) out[row * d + dim] += weight * from[key * d + dim];
    }
  return out;
}

}  // namespace recalld::episodes
