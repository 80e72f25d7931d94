#include "episodes/policies/layer_budgets.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace recalld::episodes {
namespace {

// Shares that sum to `total`, in proportion to the weights but none below `floor`.
std::vector<double> share_out(const std::vector<double>& weights, double total, double floor) {
  std::vector<bool> at_floor(weights.size());
  std::vector<double> shares(weights.size());
  for (bool changed = true; changed;) {
    double weight_sum = 0, rest = total;
    size_t n_free = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (at_floor[i]) {
        rest -= floor;
      } else {
        weight_sum += weights[i];
        ++n_free;
      }
    }
    changed = false;
    for (size_t i = 0; i < weights.size(); ++i) {
      if (at_floor[i]) {
        shares[i] = floor;
        continue;
      }
      shares[i] = weight_sum > 0 ? rest * weights[i] / weight_sum : rest / static_cast<double>(n_free);
      if (shares[i] < floor) at_floor[i] = changed = true;
    }
  }
  return shares;
}

// Whole numbers with the same sum: the largest remainders are rounded up, the lower index when equal.
std::vector<int32_t> round_to_sum(const std::vector<double>& shares, int64_t total) {
  std::vector<int32_t> whole;
  for (const double share : shares) whole.push_back(static_cast<int32_t>(std::floor(share)));
  std::vector<size_t> order(shares.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return shares[a] - whole[a] > shares[b] - whole[b]; });
  int64_t missing = total - std::accumulate(whole.begin(), whole.end(), int64_t{0});
  for (size_t i = 0; missing > 0; i = (i + 1) % order.size(), --missing) ++whole[order[i]];
  return whole;
}

}  // namespace

std::vector<int32_t> layer_budgets(const cache::CacheShape& shape, std::span<const float> sensitivity,
                                   int32_t mean_budget, const LayerBudgetOptions& options) {
  std::vector<double> weights;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer)
    if (shape.layers[layer].window == 0)
      weights.push_back(std::pow(std::max(0.0, static_cast<double>(sensitivity[layer])), options.alpha));
  std::vector<int32_t> budgets(shape.layers.size());
  if (weights.empty()) return budgets;
  const int64_t total = int64_t{mean_budget} * static_cast<int64_t>(weights.size());
  const std::vector<int32_t> whole =
      round_to_sum(share_out(weights, static_cast<double>(total), mean_budget * options.floor_share), total);
  auto next = whole.begin();
  for (size_t layer = 0; layer < shape.layers.size(); ++layer)
    if (shape.layers[layer].window == 0) budgets[layer] = *next++;
  return budgets;
}

}  // namespace recalld::episodes
