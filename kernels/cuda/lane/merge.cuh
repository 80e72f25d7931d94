// Flash-attention states of several parts of a view into one, by log-sum-exp: warps of a block, splits of a view,
// ranges that a caller attended apart.
#pragma once

#include "kernels/cuda/lane/portable.cuh"

namespace recalld::kernels::cuda {

struct MergedSums {
  float m, l;
};

// m(i) and l(i) give those of part i of n. A part that saw nothing has m = -infinity; NaN in any part is NaN.
template <class M, class L>
RECALLD_LANE MergedSums merge_sums(int n, const M& m, const L& l) {
  MergedSums sums{minus_infinity(), 0};
  for (int i = 0; i < n; ++i) sums.m = larger(sums.m, m(i));
  for (int i = 0; i < n; ++i)
    if (m(i) != minus_infinity()) sums.l += weight_exp(m(i) - sums.m) * l(i);
  if (!(sums.l == sums.l)) sums.m = sums.l;
  return sums;
}

// One number of acc; m is merge_sums().m.
template <class M, class Acc>
RECALLD_LANE float merge_number(int n, float m, const M& part_m, const Acc& acc) {
  float sum = 0;
  for (int i = 0; i < n; ++i)
    if (part_m(i) != minus_infinity()) sum += weight_exp(part_m(i) - m) * acc(i);
  return sum;
}

}  // namespace recalld::kernels::cuda
