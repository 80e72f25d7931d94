// From logits to a token. One object per answer; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/status.h"

struct llama_sampler;

namespace recalld::runtime {

struct SamplerOptions {
  float temperature = 1.0F;        // 0: always the likeliest token (the lower id of equals)
  int32_t top_k = 0;               // 0: off
  float top_p = 1.0F;              // 1: off
  float min_p = 0.0F;              // 0: off
  float repeat_penalty = 1.0F;     // 1: off; over the last 64 accepted tokens
  float frequency_penalty = 0.0F;  // 0: off; over the last 64 accepted tokens
  float presence_penalty = 0.0F;   // 0: off; over the last 64 accepted tokens
  uint64_t seed = 0;
};

class Sampler {
 public:
  // kInvalidArgument, naming the option and its range, for values that make no sense.
  static Result<Sampler> create(const SamplerOptions& options, int32_t n_vocab);
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;
  ~Sampler();

  // logits: [n_vocab]. Equal options, seed and history give equal tokens. kInternal when a logit is NaN or none is
  // finite.
  Result<int32_t> sample(std::span<const float> logits);
  // Tells the penalties that `token` was used. sample() does not do it by itself.
  void accept(int32_t token);

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::runtime
