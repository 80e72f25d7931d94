// ggml's flash attention, one thread: what stock llama.cpp runs on a CPU.
#pragma once

#include <memory>

#include "bench/kernels/problem.h"

namespace recalld::bench {

enum class StockCache { kF16, kQ4_0 };

class StockAttention {
 public:
  // Throws std::runtime_error when ggml cannot plan the graph.
  StockAttention(const Problem& problem, StockCache cache);
  ~StockAttention();
  void run(int layer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::bench
