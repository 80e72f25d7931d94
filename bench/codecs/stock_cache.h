// libllama's own KV caches: the same model read through a cache of one ggml type, and what the type costs by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct llama_context;
struct llama_model;

namespace recalld::bench {

// f16, q8_0, q4_0 or q4_1, for keys and values alike.
struct StockType {
  std::string name;
  int ggml_type = 0;
  // As stored, scales included. libllama's cell table is left out.
  double bits = 0;
};

std::vector<StockType> stock_types();

// A GGUF loaded by libllama. Throws std::runtime_error when it cannot be.
class StockModel {
 public:
  explicit StockModel(const std::string& path);
  ~StockModel();
  StockModel(const StockModel&) = delete;
  StockModel& operator=(const StockModel&) = delete;
  llama_model* get() const { return model_; }

 private:
  llama_model* model_;
};

// One sequence, flash attention on. The model outlives it.
class StockSequence {
 public:
  // block: most tokens of one read.
  StockSequence(const StockModel& model, const StockType& type, int context, int block, int threads);
  ~StockSequence();
  StockSequence(const StockSequence&) = delete;
  StockSequence& operator=(const StockSequence&) = delete;

  // Logits of every token, [n_tokens][n_vocab], valid until the next call.
  std::span<const float> read(std::span<const int32_t> tokens);

 private:
  llama_context* context_;
  int n_vocab_;
  int length_ = 0;
};

// ggml's flash attention of one query token over n_keys keys of this type, one thread, on one of n_layers caches in
// turn, so that the keys come from memory as they do in a model.
class StockAttention {
 public:
  StockAttention(const StockType& type, int n_kv_heads, int n_group, int head_dim, int n_keys, int n_layers);
  ~StockAttention();
  StockAttention(const StockAttention&) = delete;
  StockAttention& operator=(const StockAttention&) = delete;
  void attend(int layer);

 private:
  struct Graphs;
  std::unique_ptr<Graphs> graphs_;
};

// Codes n_rows rows of `width` values into `out`, as libllama does after rotating them.
void stock_encode(const StockType& type, int n_rows, int width, const float* rows, std::vector<std::byte>& out);

}  // namespace recalld::bench
