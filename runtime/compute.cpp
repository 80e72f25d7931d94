#include "runtime/compute.h"

#include <algorithm>

#include "runtime/hparams.h"
#include "runtime/llama_log.h"

namespace recalld::runtime {
namespace {

// Decoding alternates between few shapes (one token; a block and its rest); a graph costs about half a millisecond to
// build and a megabyte to keep.
constexpr size_t kKeptGraphs = 6;

// Idle threads look for work for about 2 ms before they sleep: long enough to bridge sampling between two tokens, short
// enough to leave the cores to others.
constexpr uint32_t kPoll = 1;

// The widest input of any matrix of the model.
int32_t max_n_in(const Hparams& hparams) {
  int32_t widest = std::max(hparams.n_embd, hparams.n_ff);
  for (const LayerHparams& layer : hparams.layers) widest = std::max(widest, layer.n_heads * layer.head_dim);
  return widest;
}

bool is_cancelled(void* flag) { return static_cast<const std::atomic<bool>*>(flag)->load(std::memory_order_relaxed); }

}  // namespace

Compute::Compute(const Model& model, int threads, const std::vector<SequencePart>* parts)
    : model_(model), parts_(parts), scratch_(threads, max_n_in(model.hparams())) {}

Result<std::unique_ptr<Compute>> Compute::create(const Model& model, int threads,
                                                 const std::vector<SequencePart>* parts) {
  quiet_llama_log();
  std::unique_ptr<Compute> compute(new Compute(model, threads, parts));
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  params.poll = kPoll;
  compute->threads_.reset(ggml_threadpool_new(&params));
  compute->backend_.reset(ggml_backend_cpu_init());
  if (!compute->threads_ || !compute->backend_) return resource_exhausted("cannot start the compute threads");
  ggml_backend_cpu_set_n_threads(compute->backend_.get(), threads);
  ggml_backend_cpu_set_threadpool(compute->backend_.get(), compute->threads_.get());
  compute->allocator_.reset(ggml_gallocr_new(ggml_backend_get_default_buffer_type(compute->backend_.get())));
  if (!compute->allocator_) return resource_exhausted("no memory for the compute engine");
  return compute;
}

Result<Graph*> Compute::graph(GraphShape shape) {
  const auto found = std::find_if(graphs_.begin(), graphs_.end(), [&](const auto& g) { return g->shape() == shape; });
  if (found != graphs_.end()) {
    graphs_.splice(graphs_.begin(), graphs_, found);
    return graphs_.front().get();
  }
  RECALLD_ASSIGN_OR_RETURN(auto built, Graph::build(model_, shape, parts_, &scratch_));
  const size_t before = ggml_gallocr_get_buffer_size(allocator_.get(), 0);
  const Status allocated = built->allocate(allocator_.get());
  // A buffer that grew has moved: the tensors of the other graphs point into the old one.
  if (ggml_gallocr_get_buffer_size(allocator_.get(), 0) != before) graphs_.clear();
  RECALLD_RETURN_IF_ERROR(Status(allocated));
  graphs_.push_front(std::move(built));
  if (graphs_.size() > kKeptGraphs) graphs_.pop_back();
  return graphs_.front().get();
}

Status Compute::run(Graph& graph, const std::atomic<bool>* cancel) {
  ggml_backend_cpu_set_abort_callback(backend_.get(), cancel == nullptr ? nullptr : is_cancelled,
                                      const_cast<std::atomic<bool>*>(cancel));
  const ggml_status status = ggml_backend_graph_compute(backend_.get(), graph.get());
  switch (status) {
    case GGML_STATUS_SUCCESS:
      return ok_status();
    case GGML_STATUS_ABORTED:
      return cancelled("the computation was cancelled");
    case GGML_STATUS_ALLOC_FAILED:
      return resource_exhausted("no memory for the compute buffers");
    default:
      return internal_error("ggml could not compute the graph: " + take_llama_errors());
  }
}

size_t Compute::bytes() const {
  size_t bytes = ggml_gallocr_get_buffer_size(allocator_.get(), 0);
  for (const auto& graph : graphs_) bytes += graph->bytes();
  return bytes;
}

}  // namespace recalld::runtime
