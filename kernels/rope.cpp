#include "kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace recalld::kernels {

RopeShift::RopeShift(const RopeSpec& spec, int32_t offset) : neox_(spec.neox), n_dims_(spec.n_dims), offset_(offset) {
  // Offsets reach tens of thousands: the angle needs more than f32 has.
  for (const float frequency : spec.inv_freq) {
    const double angle = static_cast<double>(offset) * static_cast<double>(frequency);
    cos_.push_back(static_cast<float>(std::cos(angle)));
    sin_.push_back(static_cast<float>(std::sin(angle)));
  }
}

void RopeShift::rotate(int n_rows, int head_dim, const float* in, size_t stride, float* out) const {
  const int half = n_dims_ / 2;
  const int step = neox_ ? 1 : 2;
  const int partner = neox_ ? half : 1;
  for (int row = 0; row < n_rows; ++row) {
    const float* from = in + static_cast<size_t>(row) * stride;
    float* to = out + static_cast<size_t>(row) * static_cast<size_t>(head_dim);
    if (offset_ == 0) {
      if (from != to) std::copy_n(from, head_dim, to);
      continue;
    }
    for (int i = 0; i < half; ++i) {
      const float x = from[i * step];
      const float y = from[i * step + partner];
      to[i * step] = x * cos_[i] - y * sin_[i];
      to[i * step + partner] = x * sin_[i] + y * cos_[i];
    }
    if (from != to) std::copy(from + n_dims_, from + head_dim, to + n_dims_);
  }
}

void rotate_tokens(const RopeSpec& spec, int n_tokens, int32_t start, int direction, int n_heads, int head_dim,
                   float* rows) {
  const size_t width = static_cast<size_t>(n_heads) * static_cast<size_t>(head_dim);
  for (int token = 0; token < n_tokens; ++token) {
    float* row = rows + static_cast<size_t>(token) * width;
    const auto position = std::min<int64_t>(int64_t{start} + token, std::numeric_limits<int32_t>::max());
    RopeShift(spec, direction * static_cast<int32_t>(position))
        .rotate(n_heads, head_dim, row, static_cast<size_t>(head_dim), row);
  }
}

}  // namespace recalld::kernels
