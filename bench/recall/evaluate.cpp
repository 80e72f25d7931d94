#include "bench/recall/evaluate.h"

#include "base/clock.h"
#include "runtime/generation.h"

namespace recalld::bench {

Evaluator::Evaluator(runtime::Engine& engine, std::shared_ptr<const runtime::Tokenizer> tokenizer,
                     std::shared_ptr<cache::MemoryPool> pool)
    : engine_(engine), tokenizer_(std::move(tokenizer)), sequence_(engine.model().cache_shape(), std::move(pool)) {}

Status Evaluator::read(std::span<const int32_t> tokens, runtime::Outputs outputs) {
  const runtime::StepRequest request{&sequence_, tokens, outputs,
                                     outputs == runtime::Outputs::kNone ? nullptr : &logits_};
  return engine_.step({&request, 1});
}

Result<Evaluation> Evaluator::evaluate(const Composed& composed, const Asked& asked, const EvaluateOptions& options) {
  const SystemClock clock;
  Evaluation result;
  std::vector<int32_t> prompt = composed.text;
  prompt.insert(prompt.end(), asked.prompt.begin(), asked.prompt.end());
  const int64_t started = clock.monotonic_ns();
  cache::View view = composed.view;
  view.layers.resize(sequence_.shape().layers.size());
  RECALLD_RETURN_IF_ERROR(sequence_.set_view(std::move(view)));
  RECALLD_RETURN_IF_ERROR(read(prompt, runtime::Outputs::kLast));
  result.read_ms = static_cast<double>(clock.monotonic_ns() - started) / 1e6;
  const int32_t question_end = sequence_.length();

  std::vector<float> all = logits_;
  if (asked.gold.size() > 1) {
    RECALLD_RETURN_IF_ERROR(read(std::span(asked.gold).first(asked.gold.size() - 1), runtime::Outputs::kAll));
    all.insert(all.end(), logits_.begin(), logits_.end());
  }
  const auto n_vocab = static_cast<size_t>(engine_.model().info().n_vocab);
  const auto n_gold = static_cast<double>(asked.gold.size());
  double kl = 0;
  for (size_t i = 0; i < asked.gold.size(); ++i) {
    const std::span<float> row = std::span(all).subspan(i * n_vocab, n_vocab);
    log_softmax(row);
    result.nll -= row[static_cast<size_t>(asked.gold[i])] / n_gold;
    if (options.against != nullptr) kl += kl_divergence((*options.against)[i], row) / n_gold;
    if (options.keep_reference) result.reference.push_back(top_tokens(row, kReferenceTokens));
  }
  if (options.against != nullptr) result.kl = kl;
  if (options.answer_tokens > 0) {
    // The question's last token is read again, so that generate has a prompt.
    RECALLD_RETURN_IF_ERROR(sequence_.truncate(question_end - 1));
    RECALLD_ASSIGN_OR_RETURN(result.answer, answer(options.answer_tokens, prompt.back()));
  }
  return result;
}

Result<std::string> Evaluator::answer(int max_tokens, int32_t last_prompt_token) {
  runtime::GenerationOptions options;
  options.sampler.temperature = 0;
  options.stops = {"\n"};
  options.max_tokens = max_tokens;
  RECALLD_ASSIGN_OR_RETURN(auto generated, runtime::generate(engine_, *tokenizer_, sequence_, {&last_prompt_token, 1},
                                                             options, {}, SystemClock()));
  const auto first = generated.text.find_first_not_of(' ');
  return first == std::string::npos ? std::string() : generated.text.substr(first);
}

}  // namespace recalld::bench
