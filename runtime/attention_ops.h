// Attention as operations of a ggml graph, computed by the sequences' caches.
//
// Three operations per layer, because each must see the whole of the one before and ggml's threads meet between
// operations only: store (k, v) -> attend (q) -> finish.
#pragma once

#include <ggml.h>

#include <deque>
#include <vector>

#include "cache/sequence.h"

namespace recalld::runtime {

// A run of the step's tokens that belongs to one sequence.
struct SequencePart {
  cache::Sequence* sequence = nullptr;
  int32_t first = 0;  // row in the step
  int32_t n_tokens = 0;
};

class AttentionOps {
 public:
  // parts is read whenever the graph is computed; the caller fills it before.
  explicit AttentionOps(const std::vector<SequencePart>* parts) : parts_(parts) {}
  AttentionOps(const AttentionOps&) = delete;
  AttentionOps& operator=(const AttentionOps&) = delete;

  // The store operation alone: a tensor without meaning, to be put into the graph.
  ggml_tensor* store(ggml_context* context, int layer, ggml_tensor* k, ggml_tensor* v);
  // [head_dim * n_heads, n_tokens] from q [head_dim, n_heads, n_tokens] and what store() returned.
  ggml_tensor* attend(ggml_context* context, int layer, ggml_tensor* stored, ggml_tensor* q);

 private:
  struct Layer {
    const std::vector<SequencePart>* parts;
    int layer;
  };
  static void run_store(ggml_tensor* out, int ith, int nth, void* layer);
  static void run_attend(ggml_tensor* out, int ith, int nth, void* layer);
  static void run_finish(ggml_tensor* out, int ith, int nth, void* layer);

  const std::vector<SequencePart>* parts_;
  std::deque<Layer> layers_;  // addresses are handed to ggml
};

}  // namespace recalld::runtime
