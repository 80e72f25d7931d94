// What a block of queries gives to each key: softmax weights, reduced over the rows. The scores of eviction policies.
//
// For query row r (one token, one query head of the group) and key i that it sees (visible_keys, as in attend.h):
//   a[r, i] = exp(s[r, i]) / sum_j exp(s[r, j]),  s = scale * (q . k),  j over the keys of `pages` that r sees.
// Keys that r does not see have weight 0. A row that sees nothing, or whose query is not finite, adds nothing.
//
// Threads: pure but for weights and the scratch; any thread, one scratch per thread. Errors: none.
#pragma once

#include <span>

#include "kernels/attend.h"

namespace recalld::kernels {

enum class WeightReduce {
  kMax,  // weights[i] = max(weights[i], max over r of a[r, i])
  kSum,  // weights[i] += sum over r of a[r, i]
};

// weights: one number per key of `pages`, in page order; updated. Takes about 25 floats of scratch a key.
void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights, AttendScratch& scratch);

namespace reference {
// Plain loops, sums in double precision. The oracle.
void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights);
}  // namespace reference

}  // namespace recalld::kernels
