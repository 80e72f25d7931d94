#include "runtime/generation.h"

#include <algorithm>

#include "runtime/stop_strings.h"
#include "runtime/utf8_stream.h"

namespace recalld::runtime {
namespace {

constexpr double kNsPerMs = 1e6;

// Carries one answer from step to step.
class Answer {
 public:
  Answer(const Tokenizer& tokenizer, const GenerationOptions& options, const GenerationHooks& hooks)
      : tokenizer_(tokenizer), options_(options), hooks_(hooks), stops_(options.stops) {}

  // Takes a sampled token. False when the answer has ended, with the reason.
  bool take(int32_t token) {
    result.tokens.push_back(token);
    if (tokenizer_.is_end(token)) return end(FinishReason::kStop);
    if (!emit(stops_.push(characters_.push(tokenizer_.piece(token))))) return end(FinishReason::kCancelled);
    if (stops_.stopped()) return end(FinishReason::kStop);
    if (options_.max_tokens > 0 && static_cast<int32_t>(result.tokens.size()) >= options_.max_tokens) {
      return end(FinishReason::kLength);
    }
    return true;
  }

  bool end(FinishReason reason) {
    result.finish_reason = reason;
    return false;
  }

  // What was held back while it might have become a stop string or a character.
  void flush() {
    if (stops_.stopped() || result.finish_reason == FinishReason::kCancelled) return;
    std::string rest = stops_.push(characters_.finish());
    if (!stops_.stopped()) rest += stops_.finish();
    if (!emit(rest)) result.finish_reason = FinishReason::kCancelled;
  }

  GenerationResult result;

 private:
  bool emit(const std::string& text) {
    if (text.empty()) return true;
    result.text += text;
    return !hooks_.on_text || hooks_.on_text(text);
  }

  const Tokenizer& tokenizer_;
  const GenerationOptions& options_;
  const GenerationHooks& hooks_;
  Utf8Stream characters_;
  StopStrings stops_;
};

Status yield_to_others(const GenerationHooks& hooks) {
  if (hooks.cancel != nullptr && hooks.cancel->load(std::memory_order_relaxed))
    return cancelled("the answer was cancelled");
  return hooks.between_blocks ? hooks.between_blocks() : ok_status();
}

Status read_prompt(Engine& engine, cache::Sequence& sequence, std::span<const int32_t> prompt, int32_t block,
                   const GenerationHooks& hooks, std::vector<float>* logits) {
  for (size_t at = 0; at < prompt.size();) {
    RECALLD_RETURN_IF_ERROR(yield_to_others(hooks));
    const size_t n = std::min(static_cast<size_t>(block), prompt.size() - at);
    const bool is_last = at + n == prompt.size();
    const StepRequest request{.sequence = &sequence,
                              .tokens = prompt.subspan(at, n),
                              .outputs = is_last ? Outputs::kLast : Outputs::kNone,
                              .logits = is_last ? logits : nullptr};
    RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}, hooks.cancel));
    at += n;
  }
  return ok_status();
}

Status decode_one(Engine& engine, cache::Sequence& sequence, int32_t token, const GenerationHooks& hooks,
                  std::vector<float>* logits) {
  RECALLD_RETURN_IF_ERROR(yield_to_others(hooks));
  const StepRequest request{.sequence = &sequence, .tokens = {&token, 1}, .outputs = Outputs::kLast, .logits = logits};
  return engine.step({&request, 1}, hooks.cancel);
}

Status check(const Engine& engine, const cache::Sequence& sequence, std::span<const int32_t> prompt,
             const GenerationOptions& options) {
  if (prompt.empty()) return invalid_argument("the prompt is empty; give at least one token");
  if (options.block < 1) return invalid_argument("block is " + std::to_string(options.block) + "; use 1 or more");
  if (options.max_tokens < 0) {
    return invalid_argument("max_tokens is " + std::to_string(options.max_tokens) + "; use 0 (no limit) or more");
  }
  const int64_t needed = int64_t{sequence.length()} + static_cast<int64_t>(prompt.size()) + 1;
  if (needed > engine.context()) {
    return too_large("the prompt needs " + std::to_string(needed) + " positions and the window has " +
                     std::to_string(engine.context()) + "; shorten it");
  }
  return ok_status();
}

}  // namespace

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

Result<GenerationResult> generate(Engine& engine, const Tokenizer& tokenizer, cache::Sequence& sequence,
                                  std::span<const int32_t> prompt, const GenerationOptions& options,
                                  const GenerationHooks& hooks, const Clock& clock) {
  RECALLD_RETURN_IF_ERROR(check(engine, sequence, prompt, options));
  RECALLD_ASSIGN_OR_RETURN(Sampler sampler, Sampler::create(options.sampler, tokenizer.n_vocab()));
  const int64_t start = clock.monotonic_ns();
  const auto since = [&clock](int64_t from) { return static_cast<double>(clock.monotonic_ns() - from) / kNsPerMs; };
  Answer answer(tokenizer, options, hooks);
  GenerationResult& result = answer.result;
  result.prompt_tokens = static_cast<int32_t>(prompt.size());
  std::vector<float> logits;
  Status status = read_prompt(engine, sequence, prompt, options.block, hooks, &logits);
  result.prefill_ms = since(start);
  const int64_t decode_start = clock.monotonic_ns();
  while (status.ok()) {
    auto token = sampler.sample(logits);
    if (!token.ok()) return token.status();
    sampler.accept(*token);
    if (result.tokens.empty()) result.first_token_ms = since(start);
    if (!answer.take(*token)) break;
    if (sequence.length() >= engine.context()) {
      answer.end(FinishReason::kLength);
      break;
    }
    status = decode_one(engine, sequence, *token, hooks, &logits);
    if (status.ok()) ++result.decoded_tokens;
  }
  if (status.code() == StatusCode::kCancelled) {
    answer.end(FinishReason::kCancelled);
  } else if (!status.ok()) {
    return status;
  }
  answer.flush();
  result.decode_ms = since(decode_start);
  return std::move(result);
}

}  // namespace recalld::runtime
