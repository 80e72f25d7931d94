// ggml's flash attention over 16-bit keys and values, one thread: what stock llama.cpp runs on a CPU.
#pragma once

#include <memory>

#include "bench/kernels/problem.h"

namespace recalld::bench {

class StockAttention {
 public:
  // Throws std::runtime_error when ggml cannot plan the graph.
  explicit StockAttention(const Problem& problem);
  ~StockAttention();
  void run(int layer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::bench
