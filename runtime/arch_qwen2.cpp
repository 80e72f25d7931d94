// Qwen2 and Qwen2.5: Llama with biases on Q, K and V. Yang et al. 2024 (arXiv 2407.10671).
#include "runtime/architecture.h"

namespace recalld::runtime {
namespace {

class Qwen2 final : public Architecture {
 public:
  std::string_view name() const override { return "qwen2"; }
  bool neox_rope() const override { return true; }

  void bind_layer(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) const override {
    bind_attention(binder, hparams, layer, weights);
    bind_feed_forward(binder, hparams, layer, weights);
  }

  ggml_tensor* build_layer(GraphBuilder& graph, int layer, ggml_tensor* x) const override {
    return build_dense_layer(graph, layer, x);
  }
};

}  // namespace

const Architecture& qwen2_architecture() {
  static const Qwen2 kArchitecture;
  return kArchitecture;
}

}  // namespace recalld::runtime
