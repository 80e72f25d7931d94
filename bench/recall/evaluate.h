// One question after one view: how likely the gold answer is, and what the model answers itself.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/recall/arms/arm.h"
#include "bench/recall/metrics/divergence.h"
#include "runtime/engine.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {

// The full cache's distribution at each token of a gold answer.
using Reference = std::vector<TopTokens>;

struct Evaluation {
  double nll = 0;            // mean over the gold answer's tokens, teacher-forced, nats
  std::optional<double> kl;  // mean KL(full || this) over them, where a reference was given
  std::string answer;        // greedy, where wanted
  double read_ms = 0;        // text and question
  Reference reference;       // where wanted
};

struct EvaluateOptions {
  const Reference* against = nullptr;
  bool keep_reference = false;
  int answer_tokens = 0;  // at most; 0 for no answer
};

// Not thread-safe.
class Evaluator {
 public:
  Evaluator(runtime::Engine& engine, std::shared_ptr<const runtime::Tokenizer> tokenizer,
            std::shared_ptr<cache::MemoryPool> pool);

  // Reads composed.text and the question after composed.view, then the gold answer.
  Result<Evaluation> evaluate(const Composed& composed, const Asked& asked, const EvaluateOptions& options);

  // Bytes of 16-bit rows that a token takes which is read as text.
  size_t row_bytes() const { return engine_.model().cache_shape().f16_bytes_per_token(); }

 private:
  Status read(std::span<const int32_t> tokens, runtime::Outputs outputs);
  Result<std::string> answer(int max_tokens, int32_t last_prompt_token);

  runtime::Engine& engine_;
  std::shared_ptr<const runtime::Tokenizer> tokenizer_;
  cache::Sequence sequence_;
  std::vector<float> logits_;
};

}  // namespace recalld::bench
