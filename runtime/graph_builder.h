// The blocks that model families are built from, on ggml's public graph API.
//
// ggml's shapes are fastest dimension first: [n_embd, n_tokens] is one row of n_embd per token.
#pragma once

#include <ggml.h>

#include <vector>

#include "runtime/attention_ops.h"
#include "runtime/hparams.h"
#include "runtime/matmul_ops.h"
#include "runtime/weights.h"

namespace recalld::runtime {

// Of the gate in a gated feed-forward.
enum class Activation {
  kSilu,
  kGelu,  // by tanh, as ggml computes it: Hendrycks & Gimpel 2016 (arXiv 1606.08415)
};

class GraphBuilder {
 public:
  struct Inputs {
    ggml_tensor* positions = nullptr;   // [n_tokens] i32
    ggml_tensor* output_ids = nullptr;  // [n_outputs] i32, or nullptr when all tokens or none are wanted
    int n_tokens = 0;
    int n_outputs = 0;
  };

  // attention and matmul keep what the operations of the graph need: they live as long as it.
  GraphBuilder(ggml_context* context, ggml_cgraph* graph, const Hparams& hparams, const Weights& weights,
               const Inputs& inputs, AttentionOps* attention, MatmulOps* matmul)
      : context_(context),
        graph_(graph),
        hparams_(hparams),
        weights_(weights),
        inputs_(inputs),
        attention_(attention),
        matmul_(matmul) {}

  const LayerHparams& layer_hparams(int layer) const { return hparams_.layers[layer]; }
  const LayerWeights& layer_weights(int layer) const { return weights_.layers[layer]; }
  ggml_context* context() const { return context_; }

  // x / sqrt(mean(x^2) + epsilon) * weight over dimension 0. Zhang & Sennrich 2019 (arXiv 1910.07467).
  ggml_tensor* rms_norm(ggml_tensor* x, ggml_tensor* weight);
  // weight^T x, plus bias unless it is nullptr.
  ggml_tensor* linear(ggml_tensor* weight, ggml_tensor* x, ggml_tensor* bias = nullptr);
  ggml_tensor* add(ggml_tensor* a, ggml_tensor* b);
  ggml_tensor* scale(ggml_tensor* x, float factor);
  // cap * tanh(x / cap). Gemma 2 (arXiv 2408.00118) section 2.
  ggml_tensor* softcap(ggml_tensor* x, float cap);
  // [head_dim * n_heads, n_tokens] as [head_dim, n_heads, n_tokens].
  ggml_tensor* split_heads(ggml_tensor* x, int n_heads, int head_dim);
  // Rotates [head_dim, n_heads, n_tokens] at the step's positions, as the layer rotates.
  ggml_tensor* rope(int layer, ggml_tensor* x);
  // Stores k and v [head_dim, n_kv_heads, n_tokens], attends q [head_dim, n_heads, n_tokens] over the cache of each
  // token's sequence; [head_dim * n_heads, n_tokens]. nullptr in the last layer when the step wants no outputs.
  ggml_tensor* attention(int layer, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v);
  // In the last layer, the rows whose logits are wanted; elsewhere x.
  ggml_tensor* select_outputs(int layer, ggml_tensor* x);
  // activation(gate) * up: the gated units of Shazeer 2020 (arXiv 2002.05202).
  ggml_tensor* gated(Activation activation, ggml_tensor* gate, ggml_tensor* up);

  // norm, then down(gated(gate, up)).
  ggml_tensor* feed_forward(int layer, ggml_tensor* x, Activation activation);

 private:
  bool is_last(int layer) const { return layer + 1 == static_cast<int>(hparams_.layers.size()); }

  ggml_context* context_;
  ggml_cgraph* graph_;
  const Hparams& hparams_;
  const Weights& weights_;
  Inputs inputs_;
  AttentionOps* attention_;
  MatmulOps* matmul_;
};

}  // namespace recalld::runtime
