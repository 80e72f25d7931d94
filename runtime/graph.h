// A forward pass built for one shape of step, ready to be computed again and again.
#pragma once

#include <ggml-cpp.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "runtime/attention_ops.h"
#include "runtime/matmul_ops.h"
#include "runtime/model.h"

namespace recalld::runtime {

struct GraphShape {
  int n_tokens = 0;
  int n_outputs = 0;  // rows of logits and of hidden states
  bool logits = false;
  bool hidden = false;
  friend bool operator==(const GraphShape&, const GraphShape&) = default;
};

// Not thread-safe. The model and `parts` outlive it; parts is read at each computation (AttentionOps).
class Graph {
 public:
  // Built but without memory: allocate() it before use. kResourceExhausted when ggml has none for the graph itself.
  // scratch outlives the graph.
  static Result<std::unique_ptr<Graph>> build(const Model& model, GraphShape shape,
                                              const std::vector<SequencePart>* parts, MatmulScratch* scratch);

  const GraphShape& shape() const { return shape_; }
  ggml_cgraph* get() { return graph_; }

  // Gives every tensor its place in the allocator's buffer, which other graphs may share as long as it does not grow.
  Status allocate(ggml_gallocr_t allocator);

  // tokens, positions: [n_tokens]; output_rows: [n_outputs], ascending rows of the step.
  void set_inputs(std::span<const int32_t> tokens, std::span<const int32_t> positions,
                  std::span<const int32_t> output_rows);
  // [n_outputs][n_vocab] and [n_outputs][n_embd] (states after the final norm), empty where the shape has none; valid
  // until the next graph that shares the buffer is computed.
  std::span<const float> logits() const;
  std::span<const float> hidden() const;

  // Bytes of the graph itself, without the allocator's buffer.
  size_t bytes() const;

 private:
  Graph(GraphShape shape, const std::vector<SequencePart>* parts, MatmulScratch* scratch)
      : shape_(shape), attention_(parts), matmul_(scratch) {}
  void add_inputs();
  void add_body(const Model& model);

  GraphShape shape_;
  AttentionOps attention_;
  MatmulOps matmul_;
  ggml_context_ptr context_;
  ggml_cgraph* graph_ = nullptr;       // in context_
  ggml_tensor* tokens_ = nullptr;      // [n_tokens] i32
  ggml_tensor* positions_ = nullptr;   // [n_tokens] i32
  ggml_tensor* output_ids_ = nullptr;  // [n_outputs] i32; nullptr when all or no tokens have outputs
  ggml_tensor* logits_ = nullptr;      // [n_vocab, n_outputs]; nullptr when not in the shape
  ggml_tensor* hidden_ = nullptr;      // [n_embd, n_outputs]; likewise
};

}  // namespace recalld::runtime
