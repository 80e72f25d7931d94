#include "bench/recall/metrics/divergence.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace recalld::bench {

void log_softmax(std::span<float> logits) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit - top));
  const auto log_sum = static_cast<float>(std::log(sum));
  for (float& logit : logits) logit = logit - top - log_sum;
}

TopTokens top_tokens(std::span<const float> log_probs, size_t n) {
  n = std::min(n, log_probs.size());
  std::vector<int32_t> order(log_probs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = log_probs[static_cast<size_t>(a)], y = log_probs[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<ptrdiff_t>(n), order.end(), likelier);
  TopTokens top;
  double mass = 0;
  for (size_t i = 0; i < n; ++i) {
    const float log_prob = log_probs[static_cast<size_t>(order[i])];
    top.tokens.emplace_back(order[i], log_prob);
    mass += std::exp(static_cast<double>(log_prob));
  }
  top.rest = static_cast<float>(std::max(0.0, 1 - mass));
  return top;
}

double kl_divergence(const TopTokens& reference, std::span<const float> log_probs) {
  constexpr double kLeast = 1e-9;
  double kl = 0, mass = 0;
  for (const auto& [token, log_prob] : reference.tokens) {
    const double other = log_probs[static_cast<size_t>(token)];
    kl += std::exp(static_cast<double>(log_prob)) * (log_prob - other);
    mass += std::exp(other);
  }
  const double rest = std::max(static_cast<double>(reference.rest), kLeast);
  return std::max(0.0, kl + rest * std::log(rest / std::max(1 - mass, kLeast)));
}

}  // namespace recalld::bench
