// Llama 1 to 3.2, SmolLM2, TinyLlama, Mistral. Touvron et al. 2023 (arXiv 2302.13971).
#include "runtime/architecture.h"

namespace recalld::runtime {
namespace {

class Llama final : public Architecture {
 public:
  std::string_view name() const override { return "llama"; }
  bool neox_rope() const override { return false; }

  void bind_layer(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) const override {
    bind_attention(binder, hparams, layer, weights);
    bind_feed_forward(binder, hparams, layer, weights);
  }

  ggml_tensor* build_layer(GraphBuilder& graph, int layer, ggml_tensor* x) const override {
    return build_dense_layer(graph, layer, x);
  }
};

}  // namespace

const Architecture& llama_architecture() {
  static const Llama kArchitecture;
  return kArchitecture;
}

}  // namespace recalld::runtime
