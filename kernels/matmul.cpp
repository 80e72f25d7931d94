#include "kernels/matmul.h"

#include "kernels/cpu/matmul_vnni.h"

namespace recalld::kernels {

bool matmul_is_fast() {
  static const bool fast = vnni::is_supported();
  return fast;
}

size_t matmul_scratch_bytes(int32_t n_in) {
  // A tile: codes, then scales and minima as floats, of sixteen rows.
  const auto blocks = static_cast<size_t>(n_in / kWeightBlock);
  return blocks * kMatmulRows * (kWeightBlock + 2 * sizeof(float));
}

void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out) {
  if (matmul_is_fast()) return vnni::quantize_activations(x, n_in, out);
  reference::quantize_activations(x, n_in, out);
}

void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride, std::byte* scratch) {
  if (matmul_is_fast()) return vnni::multiply(weights, x, n_tokens, row_begin, row_end, out, out_stride, scratch);
  reference::multiply(weights, x, n_tokens, row_begin, row_end, out, out_stride);
}

}  // namespace recalld::kernels
