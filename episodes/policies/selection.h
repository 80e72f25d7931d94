// From values to kept sets. Pure; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

// Indices kept of each head, ascending, from keep values [head][n]. Of equal values the lower index wins, then the
// lower head; NaN is worse than any number. Everything is kept where there is room for it.
std::vector<std::vector<int32_t>> select_entries(const std::vector<std::vector<float>>& keep, int32_t budget,
                                                 Selection selection);

// Moving maximum or mean of width `width` (odd) along the entries; the ends are padded with 0, as SnapKV pools.
enum class Pooling { kMax, kMean };
std::vector<float> pool_scores(std::span<const float> scores, int32_t width, Pooling pooling);

}  // namespace recalld::episodes
