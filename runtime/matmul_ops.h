// Products with quantized weights as operations of a ggml graph, computed by kernels/matmul.h.
//
// Activations are rounded once for all matrices they meet (Q, K and V; gate and up). Weights stay in the mapped file.
#pragma once

#include <ggml.h>

#include <deque>
#include <map>
#include <vector>

#include "base/bytes.h"
#include "kernels/matmul.h"

namespace recalld::runtime {

// One piece per compute thread, for the widest matrix of the model. Shared by graphs that run one after another.
class MatmulScratch {
 public:
  MatmulScratch(int threads, int32_t max_n_in);
  std::byte* of_thread(int ith) { return buffers_[static_cast<size_t>(ith)].data(); }

 private:
  std::vector<AlignedBuffer> buffers_;
};

class MatmulOps {
 public:
  // scratch outlives the graph.
  explicit MatmulOps(MatmulScratch* scratch) : scratch_(scratch) {}
  MatmulOps(const MatmulOps&) = delete;
  MatmulOps& operator=(const MatmulOps&) = delete;

  // True when this machine and the type of the weight make multiply() the faster way; else use ggml_mul_mat.
  static bool handles(const ggml_tensor* weight);

  // [n_out, n_tokens] from weight [n_in, n_out] and x [n_in, n_tokens], contiguous F32.
  ggml_tensor* multiply(ggml_context* context, ggml_tensor* weight, ggml_tensor* x);

 private:
  struct Product {
    kernels::WeightMatrix weights;
    MatmulScratch* scratch;
  };
  static void run_quantize(ggml_tensor* out, int ith, int nth, void* unused);
  static void run_multiply(ggml_tensor* out, int ith, int nth, void* product);
  ggml_tensor* quantized(ggml_context* context, ggml_tensor* x);

  MatmulScratch* scratch_;
  std::map<const ggml_tensor*, ggml_tensor*> quantized_;
  std::deque<Product> products_;  // addresses are handed to ggml
};

}  // namespace recalld::runtime
