#include "kernels/trellis.h"

#include <algorithm>

namespace recalld::kernels::reference {
namespace {

constexpr int kUpper = kTrellisStates / 2;

// What a number costs in each subset.
void subset_costs(const Codebook& book, float z, float* costs) {
  for (int subset = 0; subset < kTrellisSubsets; ++subset) {
    const int rank = nearest_trellis_place(book, subset, z) * kTrellisSubsets + subset;
    const float level = static_cast<float>(book.levels[rank]) * book.unit;
    const float error = z - level;
    costs[subset] = error * error;
  }
}

}  // namespace

void search_trellis(const SideFormat& format, int n, const float* z, uint8_t* path) {
  float costs[kTrellisStates];
  std::fill_n(costs, kTrellisStates, kTrellisFar);
  costs[0] = 0;
  // Bit s: the path into state s comes from s / 2 + kUpper, not from s / 2.
  uint16_t from_upper[kMaxHeadDim];
  for (int dim = 0, band = 0, end = format.bands[0].n_dims; dim < n; ++dim) {
    if (dim == end) end += format.bands[++band].n_dims;
    float of_subset[kTrellisSubsets], next[kTrellisStates];
    subset_costs(trellis_grid(format.bands[band].bits), z[dim], of_subset);
    from_upper[dim] = 0;
    for (int state = 0; state < kTrellisStates; ++state) {
      const int lower = state / 2, input = state & 1;
      const float from_low = costs[lower] + of_subset[trellis_subset(lower, input)];
      const float from_high = costs[lower + kUpper] + of_subset[trellis_subset(lower + kUpper, input)];
      next[state] = from_high < from_low ? from_high : from_low;
      if (from_high < from_low) from_upper[dim] = static_cast<uint16_t>(from_upper[dim] | 1U << state);
    }
    std::copy_n(next, kTrellisStates, costs);
  }
  auto state = static_cast<int>(std::min_element(costs, costs + kTrellisStates) - costs);
  for (int dim = n - 1; dim >= 0; --dim) {
    path[dim] = static_cast<uint8_t>(state & 1);
    state = state / 2 + ((from_upper[dim] >> state & 1) != 0 ? kUpper : 0);
  }
}

}  // namespace recalld::kernels::reference
