// Probabilities of an answer's tokens, and how far two models of it are apart.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace recalld::bench {

// The likeliest tokens of one distribution and the probability of all others together.
struct TopTokens {
  std::vector<std::pair<int32_t, float>> tokens;  // id, log probability; likeliest first
  float rest = 0;                                 // probability
};

// How many tokens a reference keeps: the others together have a percent or so.
inline constexpr size_t kReferenceTokens = 1024;

// Turns logits [n_vocab] into log probabilities in place.
void log_softmax(std::span<float> logits);

TopTokens top_tokens(std::span<const float> log_probs, size_t n);

// KL(reference || log_probs) in nats over the reference's tokens and one bucket for all others: at most the KL over all
// tokens.
double kl_divergence(const TopTokens& reference, std::span<const float> log_probs);

}  // namespace recalld::bench
