// Our engine and libllama over the same text: nothing evicted, history in 16-bit pages.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "cache/sequence.h"
#include "runtime/engine.h"
#include "tests/support/llama_oracle.h"

namespace recalld::bench {

struct ComparisonOptions {
  std::string model_path;
  std::vector<int32_t> prompt;
  std::vector<int32_t> continuation;  // what the text goes on with: fed token by token to both
  int greedy_tokens = 64;
  int threads = 1;
};

struct LibllamaSettings {
  bool flash_attention = true;
  bool f32_cache = false;
};

class Comparison {
 public:
  static Result<std::unique_ptr<Comparison>> create(ComparisonOptions options);

  // Logits after the prompt and after each token of the continuation but the last: [n][n_vocab].
  Result<std::vector<float>> ours();
  Result<std::vector<float>> libllama(const LibllamaSettings& settings);

  // The greedy continuation of the prompt, read in blocks of `block` tokens (0: at once).
  Result<std::vector<int32_t>> our_greedy(int block);

  int32_t n_vocab() const { return model_->info().n_vocab; }

 private:
  explicit Comparison(ComparisonOptions options) : options_(std::move(options)) {}
  // The prompt in blocks, every full page's worth of rows frozen into none16 pages after each block.
  Status read_prompt(runtime::Engine& engine, cache::Sequence* sequence, int block, std::vector<float>* logits);

  ComparisonOptions options_;
  std::shared_ptr<const runtime::Model> model_;
  std::shared_ptr<cache::MemoryPool> pool_;
  cache::CodecPlan plan_;
};

}  // namespace recalld::bench
