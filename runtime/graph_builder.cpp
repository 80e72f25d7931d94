#include "runtime/graph_builder.h"

namespace recalld::runtime {

ggml_tensor* GraphBuilder::rms_norm(ggml_tensor* x, ggml_tensor* weight) {
  return ggml_mul(context_, ggml_rms_norm(context_, x, hparams_.norm_epsilon), weight);
}

ggml_tensor* GraphBuilder::linear(ggml_tensor* weight, ggml_tensor* x, ggml_tensor* bias) {
  ggml_tensor* product =
      MatmulOps::handles(weight) ? matmul_->multiply(context_, weight, x) : ggml_mul_mat(context_, weight, x);
  return bias == nullptr ? product : ggml_add(context_, product, bias);
}

ggml_tensor* GraphBuilder::add(ggml_tensor* a, ggml_tensor* b) { return ggml_add(context_, a, b); }

ggml_tensor* GraphBuilder::scale(ggml_tensor* x, float factor) { return ggml_scale(context_, x, factor); }

ggml_tensor* GraphBuilder::softcap(ggml_tensor* x, float cap) {
  return scale(ggml_tanh(context_, scale(x, 1.0F / cap)), cap);
}

ggml_tensor* GraphBuilder::split_heads(ggml_tensor* x, int n_heads, int head_dim) {
  return ggml_reshape_3d(context_, x, head_dim, n_heads, x->ne[1]);
}

ggml_tensor* GraphBuilder::rope(int layer, ggml_tensor* x) {
  const int index = layer_hparams(layer).rope;
  const RopeHparams& rope = hparams_.ropes[index];
  const int mode = rope.neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL;
  // The last four: no YaRN.
  return ggml_rope_ext(context_, x, inputs_.positions, weights_.rope_factors[index], rope.n_dims, mode,
                       hparams_.n_ctx_train, rope.base, rope.linear_scale, 0.0F, 1.0F, 32.0F, 1.0F);
}

ggml_tensor* GraphBuilder::attention(int layer, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v) {
  ggml_tensor* stored = attention_->store(context_, layer, k, v);
  if (is_last(layer) && inputs_.n_outputs == 0) {
    ggml_build_forward_expand(graph_, stored);
    return nullptr;
  }
  return attention_->attend(context_, layer, stored, q);
}

ggml_tensor* GraphBuilder::select_outputs(int layer, ggml_tensor* x) {
  if (!is_last(layer) || inputs_.output_ids == nullptr) return x;
  return ggml_get_rows(context_, x, inputs_.output_ids);
}

ggml_tensor* GraphBuilder::gated(Activation activation, ggml_tensor* gate, ggml_tensor* up) {
  return activation == Activation::kGelu ? ggml_geglu_split(context_, gate, up) : ggml_swiglu_split(context_, gate, up);
}

ggml_tensor* GraphBuilder::feed_forward(int layer, ggml_tensor* x, Activation activation) {
  const LayerWeights& w = layer_weights(layer);
  ggml_tensor* normed = rms_norm(x, w.ffn_norm);
  ggml_tensor* up = linear(w.up, normed, w.up_bias);
  ggml_tensor* gate = linear(w.gate, normed, w.gate_bias);
  return linear(w.down, gated(activation, gate, up), w.down_bias);
}

}  // namespace recalld::runtime
