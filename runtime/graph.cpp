#include "runtime/graph.h"

#include <cstring>

#include "runtime/architecture.h"
#include "runtime/graph_builder.h"

namespace recalld::runtime {
namespace {

// More than any family needs: about 30 nodes a layer.
constexpr size_t kNodesPerLayer = 64;
constexpr size_t kOtherNodes = 64;

void copy_ints(std::span<const int32_t> from, ggml_tensor* to) {
  std::memcpy(to->data, from.data(), from.size_bytes());
}

std::span<const float> floats(const ggml_tensor* tensor) {
  if (tensor == nullptr) return {};
  return {static_cast<const float*>(tensor->data), static_cast<size_t>(ggml_nelements(tensor))};
}

}  // namespace

Result<std::unique_ptr<Graph>> Graph::build(const Model& model, GraphShape shape,
                                            const std::vector<SequencePart>* parts, MatmulScratch* scratch) {
  std::unique_ptr<Graph> graph(new Graph(shape, parts, scratch));
  const size_t max_nodes = model.hparams().layers.size() * kNodesPerLayer + kOtherNodes;
  const size_t bytes = max_nodes * ggml_tensor_overhead() + ggml_graph_overhead_custom(max_nodes, false);
  graph->context_.reset(ggml_init({bytes, nullptr, true}));
  if (!graph->context_) return resource_exhausted("no memory for a compute graph");
  graph->graph_ = ggml_new_graph_custom(graph->context_.get(), max_nodes, false);
  graph->add_inputs();
  graph->add_body(model);
  return graph;
}

void Graph::add_inputs() {
  ggml_context* context = context_.get();
  const auto make = [context](int n, const char* name) {
    ggml_tensor* tensor = ggml_new_tensor_1d(context, GGML_TYPE_I32, n);
    ggml_set_name(tensor, name);
    ggml_set_input(tensor);
    return tensor;
  };
  tokens_ = make(shape_.n_tokens, "tokens");
  positions_ = make(shape_.n_tokens, "positions");
  if (shape_.n_outputs > 0 && shape_.n_outputs < shape_.n_tokens) output_ids_ = make(shape_.n_outputs, "output_ids");
}

void Graph::add_body(const Model& model) {
  ggml_context* context = context_.get();
  const Weights& weights = model.weights();
  const GraphBuilder::Inputs inputs{
      .positions = positions_, .output_ids = output_ids_, .n_tokens = shape_.n_tokens, .n_outputs = shape_.n_outputs};
  GraphBuilder builder(context, graph_, model.hparams(), weights, inputs, &attention_, &matmul_);
  const Architecture& architecture = model.architecture();
  ggml_tensor* x = architecture.build_input(builder, ggml_get_rows(context, weights.token_embd, tokens_));
  for (size_t layer = 0; layer < weights.layers.size(); ++layer) {
    x = architecture.build_layer(builder, static_cast<int>(layer), x);
  }
  if (x == nullptr) return;
  x = builder.rms_norm(x, weights.output_norm);
  if (shape_.hidden) {
    hidden_ = x;
    ggml_set_output(hidden_);
    ggml_build_forward_expand(graph_, hidden_);
  }
  if (!shape_.logits) return;
  logits_ = builder.linear(weights.output, x);
  if (const float cap = model.hparams().logit_softcap; cap > 0) logits_ = builder.softcap(logits_, cap);
  ggml_set_output(logits_);
  ggml_build_forward_expand(graph_, logits_);
}

Status Graph::allocate(ggml_gallocr_t allocator) {
  if (!ggml_gallocr_alloc_graph(allocator, graph_)) {
    return resource_exhausted("no memory for the activations of " + std::to_string(shape_.n_tokens) +
                              " tokens; use a smaller ubatch");
  }
  return ok_status();
}

void Graph::set_inputs(std::span<const int32_t> tokens, std::span<const int32_t> positions,
                       std::span<const int32_t> output_rows) {
  copy_ints(tokens, tokens_);
  copy_ints(positions, positions_);
  if (output_ids_ != nullptr) copy_ints(output_rows, output_ids_);
}

std::span<const float> Graph::logits() const { return floats(logits_); }
std::span<const float> Graph::hidden() const { return floats(hidden_); }

size_t Graph::bytes() const { return ggml_get_mem_size(context_.get()); }

}  // namespace recalld::runtime
