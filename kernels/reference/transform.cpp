#include "kernels/transform.h"

#include <bit>
#include <cmath>

namespace recalld::kernels::reference {
namespace {

void butterflies(float* x, int size) {
  for (int half = size / 2; half >= 1; half /= 2) {
    for (int start = 0; start < size; start += 2 * half) {
      for (int i = start; i < start + half; ++i) {
        const float a = x[i], b = x[i + half];
        x[i] = a + b;
        x[i + half] = a - b;
      }
    }
  }
  const float norm = 1.0F / std::sqrt(static_cast<float>(size));
  for (int i = 0; i < size; ++i) x[i] *= norm;
}

void all_blocks(float* x, int head_dim) {
  for (int start = 0; start < head_dim;) {
    const int size = static_cast<int>(std::bit_floor(static_cast<unsigned>(head_dim - start)));
    butterflies(x + start, size);
    start += size;
  }
}

}  // namespace

void hadamard(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  for (int row = 0; row < n_rows; ++row) {
    const float* x = in + static_cast<size_t>(row) * stride;
    float* y = out + static_cast<size_t>(row) * static_cast<size_t>(head_dim);
    for (int i = 0; i < head_dim; ++i) y[i] = x[i] * flips.sign[i];
    all_blocks(y, head_dim);
  }
}

void inverse_hadamard(const SignFlips& flips, int head_dim, int n_rows, float* rows) {
  for (int row = 0; row < n_rows; ++row) {
    float* x = rows + static_cast<size_t>(row) * static_cast<size_t>(head_dim);
    all_blocks(x, head_dim);
    for (int i = 0; i < head_dim; ++i) x[i] *= flips.sign[i];
  }
}

}  // namespace recalld::kernels::reference
