// The search of a row's path through the trellis (kernels/trellis.h) by one lane, with the costs of all states in
// registers: the operations and the ties of the CPU's, so paths are equal.
#pragma once

#include "kernels/cuda/lane/portable.cuh"
#include "kernels/layout.h"
#include "kernels/trellis.h"

namespace recalld::kernels::cuda {

// A trellis grid as the search reads it: for each subset, its levels in numbers and what lies between them.
struct SearchTable {
  float value[kTrellisSubsets][8] = {};
  float boundary[kTrellisSubsets][7] = {};
};

struct SearchTables {
  SearchTable of[3];  // [bits - 2]
};

inline SearchTables search_tables() {
  SearchTables tables;
  for (int bits = 2; bits <= 4; ++bits) {
    const Codebook& book = codebook(Grid::kTrellis, bits);
    SearchTable& table = tables.of[bits - 2];
    for (int subset = 0; subset < kTrellisSubsets; ++subset) {
      for (int place = 0; place < 1 << (bits - 1); ++place)
        table.value[subset][place] = static_cast<float>(book.levels[place * kTrellisSubsets + subset]) * book.unit;
      for (int i = 0; i < (1 << (bits - 1)) - 1; ++i) table.boundary[subset][i] = book.boundaries[7 * subset + i];
    }
  }
  return tables;
}

// Costs of all states, and those of the next dim; returns for each state, as bits, whether its path comes from the
// upper half of states.
RECALLD_LANE uint32_t step_costs(const float (&of_subset)[kTrellisSubsets], float (&costs)[kTrellisStates]) {
  constexpr int kUpper = kTrellisStates / 2;
  float next[kTrellisStates];
  uint32_t from_upper = 0;
  RECALLD_UNROLL
  for (int state = 0; state < kTrellisStates; ++state) {
    const int lower = state / 2, input = state & 1;
    const float low = add(costs[lower], of_subset[trellis_subset(lower, input)]);
    const float high = add(costs[lower + kUpper], of_subset[trellis_subset(lower + kUpper, input)]);
    next[state] = high < low ? high : low;
    from_upper |= high < low ? 1u << state : 0u;
  }
  RECALLD_UNROLL
  for (int state = 0; state < kTrellisStates; ++state) costs[state] = next[state];
  return from_upper;
}

// Dims [begin, end) of a band: number(dim) is z, came(dim, bits) takes what step_costs returns.
template <int bits, class Number, class Came>
RECALLD_LANE void search_band(const SearchTable& table, int begin, int end, const Number& number, const Came& came,
                              float (&costs)[kTrellisStates]) {
  RECALLD_NO_UNROLL
  for (int dim = begin; dim < end; ++dim) {
    const float z = number(dim);
    float of_subset[kTrellisSubsets];
    RECALLD_UNROLL
    for (int subset = 0; subset < kTrellisSubsets; ++subset) {
      float nearest = table.value[subset][0];
      RECALLD_UNROLL
      for (int i = 0; i < (1 << (bits - 1)) - 1; ++i)
        nearest = z >= table.boundary[subset][i] ? table.value[subset][i + 1] : nearest;
      const float error = subtract(z, nearest);
      of_subset[subset] = multiply(error, error);
    }
    came(dim, step_costs(of_subset, costs));
  }
}

// The path of a row of the stored dims: memory[dim * stride], a number of 16 bits, becomes the path bit of dim.
template <class Number>
RECALLD_LANE void search_path(const SearchTables& tables, const SideFormat& format, const Number& number,
                              uint16_t* memory, int stride) {
  float costs[kTrellisStates];
  RECALLD_UNROLL
  for (int state = 0; state < kTrellisStates; ++state) costs[state] = state == 0 ? 0.0F : kTrellisFar;
  const auto came = [&](int dim, uint32_t bits) { memory[dim * stride] = static_cast<uint16_t>(bits); };
  int dim = 0;
  RECALLD_NO_UNROLL
  for (int band = 0; band < format.stored_bands(); ++band) {
    const int begin = dim, bits = format.bands[band].bits;
    dim += format.bands[band].n_dims;
    if (bits == 4)
      search_band<4>(tables.of[2], begin, dim, number, came, costs);
    else if (bits == 3)
      search_band<3>(tables.of[1], begin, dim, number, came, costs);
    else
      search_band<2>(tables.of[0], begin, dim, number, came, costs);
  }
  int state = 0;
  float least = costs[0];
  RECALLD_UNROLL
  for (int i = 1; i < kTrellisStates; ++i) {
    if (!(costs[i] < least)) continue;
    least = costs[i];
    state = i;
  }
  while (--dim >= 0) {
    uint16_t& at = memory[dim * stride];
    const int from_upper = at >> state & 1;
    at = static_cast<uint16_t>(state & 1);
    state = state / 2 + from_upper * (kTrellisStates / 2);
  }
}

}  // namespace recalld::kernels::cuda
