#include "kernels/linear_map.h"

#include <algorithm>

#include "kernels/layout.h"

namespace recalld::kernels::reference {

void map_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  float row[kMaxHeadDim];
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t r = 0; r < static_cast<size_t>(n_rows); ++r) {
    std::copy_n(in + r * stride, dims, row);
    float* to = out + r * dims;
    std::fill_n(to, dims, 0.0F);
    for (size_t j = 0; j < dims; ++j)
      for (size_t i = 0; i < dims; ++i) to[i] += row[j] * by_input[j * dims + i];
  }
}

}  // namespace recalld::kernels::reference
