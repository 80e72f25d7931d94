#include "daemon/answer.h"

#include <algorithm>
#include <cmath>

namespace recalld::daemon {
namespace {

Status check_range(const char* name, float value, float low, float high) {
  if (std::isfinite(value) && value >= low && value <= high) return ok_status();
  return invalid_argument(std::string(name) + " must be between " + std::to_string(low) + " and " +
                          std::to_string(high));
}

}  // namespace

Status check_sampling(const SamplingOptions& sampling) {
  RECALLD_RETURN_IF_ERROR(check_range("temperature", sampling.temperature, 0, 2));
  RECALLD_RETURN_IF_ERROR(check_range("top_p", sampling.top_p, 0, 1));
  RECALLD_RETURN_IF_ERROR(check_range("min_p", sampling.min_p, 0, 1));
  RECALLD_RETURN_IF_ERROR(check_range("repeat_penalty", sampling.repeat_penalty, 0, 10));
  RECALLD_RETURN_IF_ERROR(check_range("frequency_penalty", sampling.frequency_penalty, -2, 2));
  RECALLD_RETURN_IF_ERROR(check_range("presence_penalty", sampling.presence_penalty, -2, 2));
  if (sampling.top_k < 0) return invalid_argument("top_k must be 0 (off) or more");
  if (sampling.max_tokens < 0) return invalid_argument("max_tokens must be 0 (no limit) or more");
  if (sampling.stop.size() > 16) return invalid_argument("stop takes at most 16 strings");
  return ok_status();
}

Answer::Answer(std::shared_ptr<ChatSink> sink, SamplingOptions sampling, uint64_t seed,
               std::shared_ptr<const runtime::Tokenizer> tokenizer, const Clock& clock)
    : sink_(std::move(sink)),
      sampling_(std::move(sampling)),
      seed_(sampling_.seed.value_or(seed)),
      tokenizer_(std::move(tokenizer)),
      clock_(clock),
      created_ns_(clock.monotonic_ns()) {}

Status Answer::prepare(Prompt prompt, const runtime::Engine& engine, std::shared_ptr<cache::MemoryPool> pool) {
  const int64_t total = prompt.view.extent() + static_cast<int64_t>(prompt.tokens.size());
  if (total >= engine.context())
    return too_large("the prompt has " + std::to_string(total) + " tokens; the window of this model holds " +
                     std::to_string(engine.context()) + ", answer included");
  runtime::SamplerOptions options;
  options.temperature = sampling_.temperature;
  options.top_k = sampling_.top_k;
  options.top_p = sampling_.top_p;
  options.min_p = sampling_.min_p;
  options.repeat_penalty = sampling_.repeat_penalty;
  options.frequency_penalty = sampling_.frequency_penalty;
  options.presence_penalty = sampling_.presence_penalty;
  options.seed = seed_;
  RECALLD_ASSIGN_OR_RETURN(sampler_, runtime::Sampler::create(options, tokenizer_->n_vocab()));
  std::vector<std::string> stops = std::move(prompt.stops);
  stops.insert(stops.end(), sampling_.stop.begin(), sampling_.stop.end());
  stops_.emplace(std::move(stops));
  trim_ = prompt.trim;
  recall_ = prompt.recall;
  recall_.tokens_read += static_cast<int64_t>(prompt.tokens.size());
  recall_.queue_ms = static_cast<double>(clock_.monotonic_ns() - created_ns_) / 1e6;
  prompt_ = std::move(prompt.tokens);
  sequence_ = std::make_unique<cache::Sequence>(engine.model().cache_shape(), std::move(pool));
  if (!prompt.view.layers.empty()) RECALLD_RETURN_IF_ERROR(sequence_->set_view(std::move(prompt.view)));
  state_ = State::kPrefill;
  return ok_status();
}

Status Answer::prefill_step(runtime::Engine& engine, int32_t max_tokens) {
  const size_t count = std::min(prompt_.size() - prompt_read_, static_cast<size_t>(max_tokens));
  const bool last = prompt_read_ + count == prompt_.size();
  const runtime::StepRequest request{sequence_.get(), std::span(prompt_).subspan(prompt_read_, count),
                                     last ? runtime::Outputs::kLast : runtime::Outputs::kNone, &logits_};
  RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}));
  prompt_read_ += count;
  if (!last) return ok_status();
  state_ = State::kDecode;
  return advance(engine.context());
}

runtime::StepRequest Answer::next_step() {
  return {sequence_.get(), std::span(&last_token_, 1), runtime::Outputs::kLast, &logits_};
}

Status Answer::advance(int32_t context) { return accept(logits_, context); }

Status Answer::accept(std::span<const float> logits, int32_t context) {
  RECALLD_ASSIGN_OR_RETURN(const int32_t token, sampler_->sample(logits));
  last_token_ns_ = clock_.monotonic_ns();
  if (sampled_ == 0) first_token_ns_ = last_token_ns_;
  ++sampled_;
  if (tokenizer_->is_end(token)) {
    finish("stop");
    return ok_status();
  }
  sampler_->accept(token);
  emit(stops_->push(utf8_.push(tokenizer_->piece(token))));
  if (stops_->stopped()) {
    finish("stop");
  } else if (client_gone_) {
    finish("cancelled");
  } else if ((sampling_.max_tokens > 0 && sampled_ >= sampling_.max_tokens) || sequence_->length() + 1 > context - 1) {
    finish("length");
  } else {
    last_token_ = token;
  }
  return ok_status();
}

void Answer::emit(std::string piece) {
  if (trim_ && text_.empty()) piece.erase(0, piece.find_first_not_of(" \n\t"));
  if (piece.empty()) return;
  text_ += piece;
  if (!client_gone_ && !sink_->on_delta(piece)) client_gone_ = true;
}

void Answer::finish(const std::string& reason) {
  if (state_ == State::kDone) return;
  if (stops_.has_value() && !stops_->stopped()) {
    emit(stops_->push(utf8_.finish()));
    if (!stops_->stopped()) emit(stops_->finish());
  }
  finish_reason_ = reason;
  state_ = State::kDone;
  sequence_.reset();
}

ChatResult Answer::result() const {
  ChatResult result;
  result.text = text_;
  result.finish_reason = finish_reason_;
  result.recall = recall_;
  result.prompt_tokens = recall_.tokens_reused + recall_.tokens_read;
  result.completion_tokens = sampled_;
  result.recall.first_token_ms = static_cast<double>(first_token_ns_ - created_ns_) / 1e6;
  const double decode_s = static_cast<double>(last_token_ns_ - first_token_ns_) / 1e9;
  if (sampled_ > 1 && decode_s > 0) result.recall.decode_tokens_per_s = (sampled_ - 1) / decode_s;
  return result;
}

}  // namespace recalld::daemon
