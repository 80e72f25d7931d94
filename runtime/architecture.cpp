#include "runtime/architecture.h"

#include <array>

#include "runtime/model.h"

namespace recalld::runtime {
namespace {

std::array<const Architecture*, 4> all() {
  return {&llama_architecture(), &qwen2_architecture(), &qwen3_architecture(), &gemma3_architecture()};
}

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture* architecture : all()) {
    if (architecture->name() == name) return architecture;
  }
  return nullptr;
}

std::string supported_architectures() {
  std::string names;
  for (const Architecture* architecture : all())
    names += (names.empty() ? "" : ", ") + std::string(architecture->name());
  return names;
}

void bind_attention(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) {
  const LayerHparams& h = hparams.layers[layer];
  const int64_t n_embd = hparams.n_embd;
  const int64_t n_q = int64_t{h.n_heads} * h.head_dim;
  const int64_t n_kv = int64_t{h.n_kv_heads} * h.head_dim;
  weights->attn_norm = binder.require(layer, "attn_norm.weight", {n_embd});
  weights->q = binder.require(layer, "attn_q.weight", {n_embd, n_q});
  weights->k = binder.require(layer, "attn_k.weight", {n_embd, n_kv});
  weights->v = binder.require(layer, "attn_v.weight", {n_embd, n_kv});
  weights->q_bias = binder.optional(layer, "attn_q.bias", {n_q});
  weights->k_bias = binder.optional(layer, "attn_k.bias", {n_kv});
  weights->v_bias = binder.optional(layer, "attn_v.bias", {n_kv});
  weights->o = binder.require(layer, "attn_output.weight", {n_q, n_embd});
  weights->o_bias = binder.optional(layer, "attn_output.bias", {n_embd});
}

void bind_feed_forward(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) {
  const int64_t n_embd = hparams.n_embd;
  const int64_t n_ff = hparams.n_ff;
  weights->ffn_norm = binder.require(layer, "ffn_norm.weight", {n_embd});
  weights->gate = binder.require(layer, "ffn_gate.weight", {n_embd, n_ff});
  weights->up = binder.require(layer, "ffn_up.weight", {n_embd, n_ff});
  weights->down = binder.require(layer, "ffn_down.weight", {n_ff, n_embd});
  weights->gate_bias = binder.optional(layer, "ffn_gate.bias", {n_ff});
  weights->up_bias = binder.optional(layer, "ffn_up.bias", {n_ff});
  weights->down_bias = binder.optional(layer, "ffn_down.bias", {n_embd});
}

ggml_tensor* build_dense_layer(GraphBuilder& graph, int layer, ggml_tensor* x, Activation activation) {
  const LayerHparams& h = graph.layer_hparams(layer);
  const LayerWeights& w = graph.layer_weights(layer);
  ggml_tensor* normed = graph.rms_norm(x, w.attn_norm);
  ggml_tensor* q = graph.split_heads(graph.linear(w.q, normed, w.q_bias), h.n_heads, h.head_dim);
  ggml_tensor* k = graph.split_heads(graph.linear(w.k, normed, w.k_bias), h.n_kv_heads, h.head_dim);
  ggml_tensor* v = graph.split_heads(graph.linear(w.v, normed, w.v_bias), h.n_kv_heads, h.head_dim);
  if (w.q_norm != nullptr) q = graph.rms_norm(q, w.q_norm);
  if (w.k_norm != nullptr) k = graph.rms_norm(k, w.k_norm);
  ggml_tensor* attended = graph.attention(layer, graph.rope(layer, q), graph.rope(layer, k), v);
  if (attended == nullptr) return nullptr;
  attended = graph.select_outputs(layer, attended);
  ggml_tensor* mixed = graph.linear(w.o, attended, w.o_bias);
  if (w.attn_post_norm != nullptr) mixed = graph.rms_norm(mixed, w.attn_post_norm);
  x = graph.add(mixed, graph.select_outputs(layer, x));
  ggml_tensor* fed = graph.feed_forward(layer, x, activation);
  if (w.ffn_post_norm != nullptr) fed = graph.rms_norm(fed, w.ffn_post_norm);
  return graph.add(fed, x);
}

}  // namespace recalld::runtime
