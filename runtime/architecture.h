// What differs from one model family to the next. A family is one small file: which tensors a layer has, and how a
// layer is computed. Everything common (hyperparameters, embeddings, attention, output) is in model.cpp and graph.cpp.
#pragma once

#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/gguf_file.h"
#include "runtime/graph_builder.h"
#include "runtime/hparams.h"
#include "runtime/weights.h"

namespace recalld::runtime {

// Stateless; any thread.
class Architecture {
 public:
  virtual ~Architecture() = default;

  // general.architecture, and the prefix of its keys.
  virtual std::string_view name() const = 0;
  // Pairs of a rotation are (i, i + n/2) instead of (2i, 2i+1).
  virtual bool neox_rope() const = 0;

  // Changes what the common keys gave: windows, a second rotation, scales.
  virtual Status adjust(const GgufFile& /*file*/, Hparams* /*hparams*/) const { return ok_status(); }

  virtual void bind_layer(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) const = 0;

  // From the embeddings of the tokens [n_embd, n_tokens] to the first layer's input.
  virtual ggml_tensor* build_input(GraphBuilder& /*graph*/, ggml_tensor* x) const { return x; }

  // One layer, [n_embd, n_tokens] to the same; the last one to [n_embd, n_outputs] by GraphBuilder::select_outputs, or
  // nullptr when attention() returned nullptr.
  virtual ggml_tensor* build_layer(GraphBuilder& graph, int layer, ggml_tensor* x) const = 0;
};

// nullptr for an unknown name.
const Architecture* find_architecture(std::string_view name);

const Architecture& llama_architecture();
const Architecture& qwen2_architecture();
const Architecture& qwen3_architecture();
const Architecture& gemma3_architecture();

// What most families share. Biases are bound where the file has them.
void bind_attention(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights);
void bind_feed_forward(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights);
// norm, attention (with norms of Q and K where they are bound), residual, norm, gated feed-forward, residual. Where
// post norms are bound they come before the residuals.
ggml_tensor* build_dense_layer(GraphBuilder& graph, int layer, ggml_tensor* x,
                               Activation activation = Activation::kSilu);

}  // namespace recalld::runtime
