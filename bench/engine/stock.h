// libllama as people run it: 16-bit cache, flash attention, one sequence.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

struct llama_model;
struct llama_context;

namespace recalld::bench {

class Stock {
 public:
  // Throws std::runtime_error when the model does not load.
  Stock(const std::string& model_path, int context, int threads);
  ~Stock();
  Stock(const Stock&) = delete;
  Stock& operator=(const Stock&) = delete;

  // Reads tokens at the end of what was read; logits of the last one only.
  void read(std::span<const int32_t> tokens);
  // Forgets everything from `length` on.
  void truncate(int length);
  int length() const { return length_; }

 private:
  llama_model* model_;
  llama_context* context_;
  int length_ = 0;
};

}  // namespace recalld::bench
