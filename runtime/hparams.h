// Hyperparameters of a model as its GGUF states them.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/rope.h"

namespace recalld::runtime {

// One way of rotating queries and keys. angle(p, i) = p * linear_scale * base^(-2i / n_dims) / factor[i].
struct RopeHparams {
  bool neox = false;
  int32_t n_dims = 0;
  float base = 10000.0F;
  float linear_scale = 1.0F;
  std::vector<float> factors;  // [n_dims / 2] of rope_freqs.weight (Llama 3.1), or empty
};

struct LayerHparams {
  int32_t n_heads = 0;
  int32_t n_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t window = 0;  // sliding window in tokens, 0 for global attention
  float attention_scale = 0;
  int32_t rope = 0;  // index into Hparams::ropes
};

struct Hparams {
  int32_t n_ctx_train = 0;
  int32_t n_embd = 0;
  int32_t n_ff = 0;
  int32_t n_vocab = 0;
  float norm_epsilon = 0;
  float logit_softcap = 0;  // c of c * tanh(logit / c); 0 for none
  std::vector<LayerHparams> layers;
  std::vector<RopeHparams> ropes;
};

// The same rotation for the kernels that shift queries: scale and factors folded into inv_freq.
kernels::RopeSpec rope_spec(const RopeHparams& rope);

}  // namespace recalld::runtime
