// How a budget is shared among layers: those whose keys suffer most from eviction get most. EpiCache (arXiv
// 2509.17396), section on layer-wise allocation: M_l proportional to s_l^alpha. Unlike its code, the floor does not
// change the sum.
//
// Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/shape.h"

namespace recalld::episodes {

struct LayerBudgetOptions {
  double alpha = 2.0;         // 0: the same for all
  double floor_share = 0.25;  // of the mean budget, for every layer; 0 to 1
};

// [n_layers]: the layers without a sliding window share mean_budget entries times their number exactly; the others get
// 0. sensitivity: [n_layers], s_l >= 0 (layer_sensitivity.h). All zero: the same for all.
std::vector<int32_t> layer_budgets(const cache::CacheShape& shape, std::span<const float> sensitivity,
                                   int32_t mean_budget, const LayerBudgetOptions& options = {});

}  // namespace recalld::episodes
