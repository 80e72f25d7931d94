// Runs graphs on the CPU: ggml's backend with its own threads, and the graphs of shapes seen lately.
#pragma once

#include <ggml-cpp.h>
#include <ggml-cpu.h>

#include <atomic>
#include <list>
#include <memory>
#include <vector>

#include "base/status.h"
#include "runtime/graph.h"

namespace recalld::runtime {

// Not thread-safe. The model and `parts` outlive it.
class Compute {
 public:
  static Result<std::unique_ptr<Compute>> create(const Model& model, int threads,
                                                 const std::vector<SequencePart>* parts);

  // The graph of this shape, from the kept ones or built now; valid until the next call.
  Result<Graph*> graph(GraphShape shape);
  // kCancelled when *cancel became true on the way; cancel may be nullptr.
  Status run(Graph& graph, const std::atomic<bool>* cancel);

  // Bytes of activations and kept graphs.
  size_t bytes() const;

 private:
  struct FreeThreads {
    void operator()(ggml_threadpool* pool) const { ggml_threadpool_free(pool); }
  };
  Compute(const Model& model, int threads, const std::vector<SequencePart>* parts);

  const Model& model_;
  const std::vector<SequencePart>* parts_;
  MatmulScratch scratch_;
  std::unique_ptr<ggml_threadpool, FreeThreads> threads_;
  ggml_backend_ptr backend_;
  ggml_gallocr_ptr allocator_;
  std::list<std::unique_ptr<Graph>> graphs_;  // most recently used first
};

}  // namespace recalld::runtime
