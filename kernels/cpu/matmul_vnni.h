// The AVX-512 VNNI side of kernels/matmul.h. Call nothing else when is_supported() is false.
#pragma once

#include "kernels/matmul.h"

namespace recalld::kernels::vnni {

bool is_supported();
void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out);
void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride, std::byte* scratch);

}  // namespace recalld::kernels::vnni
