// libllama, unchanged, on the same GGUF: what our engine is compared with.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

struct llama_context;
struct llama_model;

namespace recalld::testing {

struct OracleOptions {
  int32_t n_ctx = 1024;
  int32_t ubatch = 512;
  int threads = 1;
  bool flash_attention = true;
  bool f32_cache = false;  // else the usual 16 bits
};

// One sequence. Not thread-safe.
class LlamaOracle {
 public:
  static Result<std::unique_ptr<LlamaOracle>> open(const std::string& path, const OracleOptions& options);
  ~LlamaOracle();
  LlamaOracle(const LlamaOracle&) = delete;
  LlamaOracle& operator=(const LlamaOracle&) = delete;

  int32_t length() const { return length_; }
  int32_t n_vocab() const;

  // Reads tokens at length() onwards. all: logits of every token [n_tokens][n_vocab], else of the last one.
  Result<std::vector<float>> read(std::span<const int32_t> tokens, bool all);
  // Forgets everything from position `length` on.
  void truncate(int32_t length);

 private:
  struct FreeModel {
    void operator()(llama_model* model) const;
  };
  struct FreeContext {
    void operator()(llama_context* context) const;
  };
  LlamaOracle() = default;

  std::unique_ptr<llama_model, FreeModel> model_;
  std::unique_ptr<llama_context, FreeContext> context_;
  int32_t length_ = 0;
};

// How far two sets of logits are apart.
struct LogitDistance {
  double kl = 0;        // mean over rows of KL(softmax(reference) || softmax(other)), nats
  double top1 = 0;      // share of rows with the same largest logit
  double relative = 0;  // rms(reference - other) / rms(reference), each row's mean taken off first
};

// Both [n_rows][n_vocab], one row or more.
LogitDistance logit_distance(std::span<const float> reference, std::span<const float> other, int32_t n_vocab);

// Index of the largest element; the lower one of equals.
int32_t argmax(std::span<const float> values);

}  // namespace recalld::testing
