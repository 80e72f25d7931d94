#include "runtime/matmul_ops.h"

#include <algorithm>
#include <cstdint>
#include <optional>

namespace recalld::runtime {
namespace {

using kernels::ActivationGroup;

std::optional<kernels::WeightFormat> format_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q4_0:
      return kernels::WeightFormat::kQ4_0;
    case GGML_TYPE_Q4_1:
      return kernels::WeightFormat::kQ4_1;
    case GGML_TYPE_Q8_0:
      return kernels::WeightFormat::kQ8_0;
    default:
      return std::nullopt;
  }
}

// ggml places tensors at multiples of 32 bytes; groups want 64, and their tensor has room to spare for it.
ActivationGroup* groups_in(const ggml_tensor* tensor) {
  const auto address = round_up(reinterpret_cast<uintptr_t>(tensor->data), alignof(ActivationGroup));
  return reinterpret_cast<ActivationGroup*>(address);
}

}  // namespace

MatmulScratch::MatmulScratch(int threads, int32_t max_n_in) {
  for (int i = 0; i < threads; ++i) buffers_.emplace_back(kernels::matmul_scratch_bytes(max_n_in));
}

bool MatmulOps::handles(const ggml_tensor* weight) {
  return kernels::matmul_is_fast() && format_of(weight->type).has_value();
}

void MatmulOps::run_quantize(ggml_tensor* out, int ith, int nth, void* /*unused*/) {
  const ggml_tensor* x = out->src[0];
  const auto n_in = static_cast<int32_t>(x->ne[0]);
  const auto n_tokens = static_cast<int32_t>(x->ne[1]);
  const auto* rows = static_cast<const float*>(x->data);
  const auto stride = static_cast<size_t>(kernels::activation_groups(n_in));
  for (int32_t t = ith; t < n_tokens; t += nth) {
    kernels::quantize_activations(rows + static_cast<size_t>(t) * n_in, n_in, groups_in(out) + t * stride);
  }
}

void MatmulOps::run_multiply(ggml_tensor* out, int ith, int nth, void* product) {
  const Product& self = *static_cast<const Product*>(product);
  const int32_t n_out = self.weights.n_out;
  const int32_t n_tiles = (n_out + kernels::kMatmulRows - 1) / kernels::kMatmulRows;
  const auto boundary = [&](int part) {
    return std::min(n_out, static_cast<int32_t>(int64_t{n_tiles} * part / nth) * kernels::kMatmulRows);
  };
  kernels::multiply(self.weights, groups_in(out->src[0]), static_cast<int32_t>(out->ne[1]), boundary(ith),
                    boundary(ith + 1), static_cast<float*>(out->data), static_cast<size_t>(n_out),
                    self.scratch->of_thread(ith));
}

ggml_tensor* MatmulOps::quantized(ggml_context* context, ggml_tensor* x) {
  ggml_tensor*& known = quantized_[x];
  if (known == nullptr) {
    const size_t bytes = kernels::activation_bytes(static_cast<int32_t>(x->ne[0])) * static_cast<size_t>(x->ne[1]);
    ggml_tensor* args[] = {x};
    known = ggml_custom_4d(context, GGML_TYPE_I8, static_cast<int64_t>(bytes + alignof(ActivationGroup)), 1, 1, 1, args,
                           1, run_quantize, GGML_N_TASKS_MAX, nullptr);
  }
  return known;
}

ggml_tensor* MatmulOps::multiply(ggml_context* context, ggml_tensor* weight, ggml_tensor* x) {
  products_.push_back({.weights = {.format = *format_of(weight->type),
                                   .data = static_cast<const std::byte*>(weight->data),
                                   .n_in = static_cast<int32_t>(weight->ne[0]),
                                   .n_out = static_cast<int32_t>(weight->ne[1])},
                       .scratch = scratch_});
  ggml_tensor* args[] = {quantized(context, x)};
  return ggml_custom_4d(context, GGML_TYPE_F32, weight->ne[1], x->ne[1], 1, 1, args, 1, run_multiply, GGML_N_TASKS_MAX,
                        &products_.back());
}

}  // namespace recalld::runtime
