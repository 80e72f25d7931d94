// Rows times a square matrix: what codecs with full matrices do to keys, values, queries and outputs.
//
// Sums go over the inputs in ascending order, each a multiplication and then an addition in f32, so that a row's result
// does not depend on the others and is bit-equal on every target.
//
// Threads: pure functions. head_dim is a multiple of 16 up to kMaxHeadDim. No allocation. NaN stays within its row.
#pragma once

#include <cstddef>

namespace recalld::kernels {

// out[r][i] = sum over j of in[r][j] * by_input[j][i]. by_input: [head_dim][head_dim], row j what input j adds to each
// output. Rows of `in` are `stride` floats apart, those of `out` head_dim; in == out is allowed when stride ==
// head_dim.
void map_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out);

namespace reference {
void map_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out);
}  // namespace reference

}  // namespace recalld::kernels
