// Qwen3: each head of Q and K is normalised before it is rotated. Yang et al. 2025 (arXiv 2505.09388).
#include "runtime/architecture.h"

namespace recalld::runtime {
namespace {

class Qwen3 final : public Architecture {
 public:
  std::string_view name() const override { return "qwen3"; }
  bool neox_rope() const override { return true; }

  void bind_layer(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) const override {
    bind_attention(binder, hparams, layer, weights);
    weights->q_norm = binder.require(layer, "attn_q_norm.weight", {hparams.layers[layer].head_dim});
    weights->k_norm = binder.require(layer, "attn_k_norm.weight", {hparams.layers[layer].head_dim});
    bind_feed_forward(binder, hparams, layer, weights);
  }

  ggml_tensor* build_layer(GraphBuilder& graph, int layer, ggml_tensor* x) const override {
    return build_dense_layer(graph, layer, x);
  }
};

}  // namespace

const Architecture& qwen3_architecture() {
  static const Qwen3 kArchitecture;
  return kArchitecture;
}

}  // namespace recalld::runtime
