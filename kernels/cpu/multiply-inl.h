// Small f32 matrix product C = A B or C += A B with C's tile held in registers. Each number of C is one chain of fused
// additions over ascending k, so that it does not depend on which rows are computed beside it.
// Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_MULTIPLY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_MULTIPLY_INL_H_
#undef RECALLD_KERNELS_CPU_MULTIPLY_INL_H_
#else
#define RECALLD_KERNELS_CPU_MULTIPLY_INL_H_
#endif

#include "kernels/cpu/attend_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {

// 6 x 4 sums, 4 columns and a broadcast number fill 32 registers of AVX-512; 6 x 2 the 16 of narrower targets.
constexpr int kPanelRows = 6;
constexpr int kPanelVectors = kLanes == 16 ? 4 : 2;

// Row strides in floats.
struct Product {
  const float* a;
  size_t a_stride;
  const float* b;
  size_t b_stride;
  float* c;
  size_t c_stride;
  int n_inner;
};

template <bool add, int n_rows, int n_vectors>
HWY_INLINE void multiply_panel(const Product& p, int column) {
  const F32 d;
  Vf c[n_rows][n_vectors];
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < n_vectors; ++i)
      c[r][i] = add ? hn::LoadU(d, p.c + r * p.c_stride + column + i * kLanes) : hn::Zero(d);
  const float* a = p.a;
  const float* b = p.b + column;
  for (int k = 0; k < p.n_inner; ++k, ++a, b += p.b_stride) {
    Vf row[n_vectors];
    for (int i = 0; i < n_vectors; ++i) row[i] = hn::Load(d, b + i * kLanes);
    for (int r = 0; r < n_rows; ++r) {
      const Vf x = hn::Set(d, a[r * p.a_stride]);
      for (int i = 0; i < n_vectors; ++i) c[r][i] = hn::MulAdd(x, row[i], c[r][i]);
    }
  }
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < n_vectors; ++i) hn::StoreU(c[r][i], d, p.c + r * p.c_stride + column + i * kLanes);
}

// C is [n_rows][n_columns], n_columns a multiple of 16.
template <bool add, int n_rows>
HWY_NOINLINE void multiply_rows(const Product& p, int n_columns) {
  constexpr int kStep = kPanelVectors * kLanes;
  int column = 0;
  for (; column + kStep <= n_columns; column += kStep) multiply_panel<add, n_rows, kPanelVectors>(p, column);
  if constexpr (kPanelVectors == 4) {
    if (column + 2 * kLanes <= n_columns) {
      multiply_panel<add, n_rows, 2>(p, column);
      column += 2 * kLanes;
    }
    if (column < n_columns) multiply_panel<add, n_rows, 1>(p, column);
  }
}

template <bool add>
HWY_INLINE void multiply(const Product& p, int n_rows, int n_columns) {
  switch (n_rows) {
    case 1:
      return multiply_rows<add, 1>(p, n_columns);
    case 2:
      return multiply_rows<add, 2>(p, n_columns);
    case 3:
      return multiply_rows<add, 3>(p, n_columns);
    case 4:
      return multiply_rows<add, 4>(p, n_columns);
    case 5:
      return multiply_rows<add, 5>(p, n_columns);
    default:
      return multiply_rows<add, kPanelRows>(p, n_columns);
  }
}

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_MULTIPLY_INL_H_
