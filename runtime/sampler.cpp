#include "runtime/sampler.h"

#include <llama.h>

#include <cmath>
#include <vector>

namespace recalld::runtime {
namespace {

constexpr int32_t kPenaltyTokens = 64;

struct FreeSampler {
  void operator()(llama_sampler* sampler) const { llama_sampler_free(sampler); }
};
using SamplerPtr = std::unique_ptr<llama_sampler, FreeSampler>;

Status check_range(const char* name, float value, float low, float high) {
  if (std::isfinite(value) && value >= low && value <= high) return ok_status();
  return invalid_argument(std::string(name) + " is " + std::to_string(value) + "; use " + std::to_string(low) + " to " +
                          std::to_string(high));
}

Status check(const SamplerOptions& options) {
  RECALLD_RETURN_IF_ERROR(check_range("temperature", options.temperature, 0.0F, 100.0F));
  RECALLD_RETURN_IF_ERROR(check_range("top_p", options.top_p, 0.0F, 1.0F));
  RECALLD_RETURN_IF_ERROR(check_range("min_p", options.min_p, 0.0F, 1.0F));
  RECALLD_RETURN_IF_ERROR(check_range("repeat_penalty", options.repeat_penalty, 0.01F, 100.0F));
  RECALLD_RETURN_IF_ERROR(check_range("frequency_penalty", options.frequency_penalty, -100.0F, 100.0F));
  RECALLD_RETURN_IF_ERROR(check_range("presence_penalty", options.presence_penalty, -100.0F, 100.0F));
  if (options.top_k < 0) return invalid_argument("top_k is " + std::to_string(options.top_k) + "; use 0 (off) or more");
  return ok_status();
}

// libllama takes 32 bits and draws a random seed for all ones.
uint32_t fold_seed(uint64_t seed) {
  const auto folded = static_cast<uint32_t>(seed ^ (seed >> 32U));
  return folded == LLAMA_DEFAULT_SEED ? folded - 1 : folded;
}

bool has_penalties(const SamplerOptions& options) {
  return options.repeat_penalty != 1.0F || options.frequency_penalty != 0.0F || options.presence_penalty != 0.0F;
}

// Penalties see all tokens; then the choice is narrowed, and only then heated: llama.cpp's order.
SamplerPtr make_chain(const SamplerOptions& options, int32_t n_vocab) {
  llama_sampler_chain_params params = llama_sampler_chain_default_params();
  params.no_perf = true;
  SamplerPtr chain(llama_sampler_chain_init(params));
  const auto add = [&chain](llama_sampler* sampler) { llama_sampler_chain_add(chain.get(), sampler); };
  if (has_penalties(options)) {
    add(llama_sampler_init_penalties(n_vocab, kPenaltyTokens, options.repeat_penalty, options.frequency_penalty,
                                     options.presence_penalty));
  }
  if (options.temperature == 0.0F) return chain;
  if (options.top_k > 0) add(llama_sampler_init_top_k(options.top_k));
  if (options.top_p < 1.0F) add(llama_sampler_init_top_p(options.top_p, 1));
  if (options.min_p > 0.0F) add(llama_sampler_init_min_p(options.min_p, 1));
  add(llama_sampler_init_temp(options.temperature));
  add(llama_sampler_init_dist(fold_seed(options.seed)));
  return chain;
}

}  // namespace

struct Sampler::Impl {
  SamplerPtr chain;
  bool greedy = false;
  std::vector<llama_token_data> candidates;
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;
Sampler::~Sampler() = default;

Result<Sampler> Sampler::create(const SamplerOptions& options, int32_t n_vocab) {
  RECALLD_RETURN_IF_ERROR(check(options));
  auto impl = std::make_unique<Impl>();
  impl->greedy = options.temperature == 0.0F;
  impl->chain = make_chain(options, n_vocab);
  impl->candidates.resize(static_cast<size_t>(n_vocab));
  return Sampler(std::move(impl));
}

Result<int32_t> Sampler::sample(std::span<const float> logits) {
  std::vector<llama_token_data>& candidates = impl_->candidates;
  if (logits.size() != candidates.size()) return internal_error("the sampler was made for another vocabulary");
  bool any_finite = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]))
      return internal_error("the model gave a logit that is not a number; its weights may be bad");
    any_finite |= std::isfinite(logits[i]);
    candidates[i] = {static_cast<llama_token>(i), logits[i], 0.0F};
  }
  if (!any_finite) return internal_error("the model gave no finite logit; its weights may be bad");
  llama_token_data_array array{candidates.data(), candidates.size(), -1, false};
  llama_sampler_apply(impl_->chain.get(), &array);
  if (!impl_->greedy) return array.data[array.selected].id;
  const llama_token_data* best = array.data;
  for (size_t i = 1; i < array.size; ++i) {
    const llama_token_data& other = array.data[i];
    if (other.logit > best->logit || (other.logit == best->logit && other.id < best->id)) best = &other;
  }
  return best->id;
}

void Sampler::accept(int32_t token) { llama_sampler_accept(impl_->chain.get(), token); }

}  // namespace recalld::runtime
