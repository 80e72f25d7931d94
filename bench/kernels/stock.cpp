#include "bench/kernels/stock.h"

#include <ggml-cpu.h>
#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

namespace recalld::bench {
namespace {

struct FreeContext {
  void operator()(ggml_context* context) const { ggml_free(context); }
};

void fill(std::mt19937& random, ggml_tensor* tensor) {
  std::normal_distribution<float> normal;
  std::vector<float> row(static_cast<size_t>(tensor->ne[0]));
  const auto convert = ggml_get_type_traits_cpu(tensor->type)->from_float;
  auto* out = static_cast<std::byte*>(tensor->data);
  for (int64_t i = 0; i < ggml_nrows(tensor); ++i, out += tensor->nb[1]) {
    for (float& x : row) x = normal(random);
    if (tensor->type == GGML_TYPE_F32)
      std::memcpy(out, row.data(), row.size() * sizeof(float));
    else
      convert(row.data(), out, tensor->ne[0]);
  }
}

}  // namespace

struct StockAttention::Impl {
  std::unique_ptr<ggml_context, FreeContext> context;
  std::vector<ggml_cgraph*> graphs;
  std::vector<ggml_cplan> plans;
  std::vector<uint8_t> work;
};

StockAttention::StockAttention(const Problem& problem, StockCache cache) : impl_(std::make_unique<Impl>()) {
  ggml_cpu_init();
  const size_t kv_bytes = static_cast<size_t>(problem.depth) * problem.n_kv_heads * problem.head_dim * 4;
  const size_t rows_bytes = static_cast<size_t>(problem.n_queries) * problem.n_heads * problem.head_dim * 4;
  const size_t mask_bytes = static_cast<size_t>(problem.n_queries) * problem.depth * 2;
  const size_t size = problem.n_layers * (kv_bytes + rows_bytes + (1u << 18)) + rows_bytes + mask_bytes + (1u << 20);
  impl_->context.reset(ggml_init({size, nullptr, false}));
  ggml_context* context = impl_->context.get();
  if (context == nullptr) throw std::runtime_error("ggml has no memory for the problem");

  std::mt19937 random(1);
  ggml_tensor* q = ggml_new_tensor_3d(context, GGML_TYPE_F32, problem.head_dim, problem.n_queries, problem.n_heads);
  fill(random, q);
  ggml_tensor* mask = ggml_new_tensor_2d(context, GGML_TYPE_F16, problem.depth, problem.n_queries);
  for (int i = 0; i < problem.n_queries; ++i)
    for (int t = 0; t < problem.depth; ++t)
      static_cast<ggml_fp16_t*>(mask->data)[static_cast<size_t>(i) * problem.depth + t] =
          ggml_fp32_to_fp16(t <= problem.depth - problem.n_queries + i ? 0.0F : -INFINITY);
  for (int layer = 0; layer < problem.n_layers; ++layer) {
    // Laid out as llama.cpp's cache: the heads of a token lie together.
    const auto new_side = [&] {
      ggml_tensor* side = ggml_new_tensor_3d(context, cache == StockCache::kF16 ? GGML_TYPE_F16 : GGML_TYPE_Q4_0,
                                             problem.head_dim, problem.n_kv_heads, problem.depth);
      fill(random, side);
      return ggml_permute(context, side, 0, 2, 1, 3);
    };
    ggml_tensor* k = new_side();
    ggml_tensor* v = new_side();
    ggml_tensor* out =
        ggml_flash_attn_ext(context, q, k, v, mask, 1.0F / std::sqrt(static_cast<float>(problem.head_dim)), 0.0F, 0.0F);
    ggml_cgraph* graph = ggml_new_graph_custom(context, 16, false);
    ggml_build_forward_expand(graph, out);
    impl_->graphs.push_back(graph);
    impl_->plans.push_back(ggml_graph_plan(graph, 1, nullptr));
    impl_->work.resize(std::max(impl_->work.size(), impl_->plans.back().work_size));
  }
  for (ggml_cplan& plan : impl_->plans) plan.work_data = impl_->work.data();
}

StockAttention::~StockAttention() = default;

void StockAttention::run(int layer) {
  if (ggml_graph_compute(impl_->graphs[layer], &impl_->plans[layer]) != GGML_STATUS_SUCCESS)
    throw std::runtime_error("ggml failed to compute attention");
}

}  // namespace recalld::bench
