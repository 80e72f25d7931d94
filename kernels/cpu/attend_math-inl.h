// Vector forms of kernels/exact_math.h, and the online softmax that decode and block attention share.
// Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ATTEND_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ATTEND_MATH_INL_H_
#undef RECALLD_KERNELS_CPU_ATTEND_MATH_INL_H_
#else
#define RECALLD_KERNELS_CPU_ATTEND_MATH_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/attend.h"
#include "kernels/exact_math.h"
#include "kernels/visible.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sixteen lanes are the unit of all layouts: one vector of AVX-512, several of narrower targets.
using F32 = hn::CappedTag<float, 16>;
using I32 = hn::RebindToSigned<F32>;
using U32 = hn::RebindToUnsigned<F32>;
using U8 = hn::Repartition<uint8_t, F32>;
using I8 = hn::Repartition<int8_t, F32>;
using I16 = hn::Repartition<int16_t, F32>;
using Vf = hn::Vec<F32>;
using Vi = hn::Vec<I32>;
using Vu8 = hn::Vec<U8>;

constexpr int kLanes = static_cast<int>(hn::MaxLanes(F32()));
constexpr int kParts = 16 / kLanes;  // vectors per sixteen lanes

// Halves at `from`, kLanes of them, exactly.
HWY_INLINE Vf load_halves(const uint16_t* from) {
  const hn::Rebind<hwy::float16_t, F32> dh;
  return hn::PromoteTo(F32(), hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(from)));
}

// kLanes scales from the `at`-th on.
HWY_INLINE Vf load_scales(const uint8_t* scales, bool bytes, int at) {
  if (!bytes) return load_halves(reinterpret_cast<const uint16_t*>(scales) + at);
  const I32 di;
  const hn::Rebind<uint8_t, F32> db;
  const Vi scale = hn::PromoteTo(di, hn::LoadU(db, scales + at));
  constexpr int kToFloat = 23 - 10;  // a float's fraction is that much longer, its exponent 127 - 15 larger
  const Vi number = hn::Add(hn::ShiftLeft<kScaleByteShift + kToFloat>(scale),
                            hn::Set(di, (kScaleByteBase << kToFloat) + ((127 - 15) << 23)));
  return hn::BitCast(F32(), hn::IfThenZeroElse(hn::Eq(scale, hn::Zero(di)), number));
}

// exact_exp on each lane, for x <= 0 or NaN.
HWY_INLINE Vf exact_exp(Vf x) {
  const F32 d;
  const I32 di;
  const Vf magic = hn::Set(d, kRoundMagic);
  const Vf shifted = hn::Add(hn::Mul(x, hn::Set(d, kExpLog2e)), magic);
  const Vf n = hn::Sub(shifted, magic);
  const Vf r = hn::Sub(hn::Sub(x, hn::Mul(n, hn::Set(d, kExpLn2High))), hn::Mul(n, hn::Set(d, kExpLn2Low)));
  Vf p = hn::Set(d, kExpCoefficients[0]);
  for (int i = 1; i < 6; ++i) p = hn::Add(hn::Mul(p, r), hn::Set(d, kExpCoefficients[i]));
  p = hn::Add(hn::Add(hn::Mul(p, hn::Mul(r, r)), r), hn::Set(d, 1.0F));
  const Vi exponent = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, magic));
  const Vf power = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(exponent, hn::Set(di, 127))));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, kExpLowest)), hn::Mul(p, power));
}

// fold16 and the largest of 16 numbers held as kParts vectors, in fold16's order.
struct FoldSum {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
  float operator()(float a, float b) const { return a + b; }
};
struct FoldMax {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
  float operator()(float a, float b) const { return a > b ? a : b; }
};

template <class Op, class D, class V = hn::Vec<D>>
HWY_INLINE float fold_vector(D d, V x, Op op) {
  if constexpr (hn::MaxLanes(D()) > 4) {
    const hn::Half<D> half;
    return fold_vector(half, op(hn::LowerHalf(half, x), hn::UpperHalf(half, x)), op);
  } else {
    alignas(16) float y[4];
    hn::Store(x, d, y);
    return op(op(y[0], y[2]), op(y[1], y[3]));
  }
}

template <class Op>
HWY_INLINE float fold(const Vf* parts, Op op) {
  Vf x[kParts];
  for (int i = 0; i < kParts; ++i) x[i] = parts[i];
  for (int n = kParts / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) x[i] = op(x[i], x[i + n]);
  return fold_vector(F32(), x[0], op);
}

HWY_INLINE void scale_row(float* row, int head_dim, float factor) {
  const F32 d;
  const Vf f = hn::Set(d, factor);
  for (int j = 0; j < head_dim; j += kLanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + j), f), d, row + j);
}

// True when all of q is finite: x * 0 is NaN otherwise.
HWY_INLINE bool all_finite(const float* q, int head_dim) {
  const F32 d;
  Vf sum = hn::Zero(d);
  for (int j = 0; j < head_dim; j += kLanes) sum = hn::Add(sum, hn::Mul(hn::LoadU(d, q + j), hn::Zero(d)));
  return hn::AllTrue(d, hn::Eq(sum, hn::Zero(d)));
}

// The state of a call, by row.
struct Rows {
  const AttendShape& shape;
  const QueryBlock& queries;
  const AttendState& state;
  size_t n_rows;

  Rows(const AttendShape& a_shape, const QueryBlock& a_queries, const AttendState& a_state)
      : shape(a_shape),
        queries(a_queries),
        state(a_state),
        n_rows(static_cast<size_t>(a_queries.n_tokens) * static_cast<size_t>(a_shape.n_group)) {}

  const float* q(int variant, size_t row) const {
    return queries.q + (static_cast<size_t>(variant) * n_rows + row) * static_cast<size_t>(shape.head_dim);
  }
  float* acc(int space, size_t row) const {
    return state.acc + (static_cast<size_t>(space) * n_rows + row) * static_cast<size_t>(shape.head_dim);
  }
  int64_t position(size_t row) const { return queries.positions[row / static_cast<size_t>(shape.n_group)]; }
};

// Scores of a tile to weights, in place: p[0, 16 * groups). What the row does not see, [0, first) and from last on, is
// set to weight 0. Raises the row's m, scaling what it has, and adds to its l.
HWY_INLINE void soften(const Rows& rows, size_t row, int first, int last, int groups, float* HWY_RESTRICT p) {
  const F32 d;
  for (int t = 0; t < first; ++t) p[t] = kNegativeInfinity;
  for (int t = last; t < groups * 16; ++t) p[t] = kNegativeInfinity;

  Vf top[kParts];
  for (int i = 0; i < kParts; ++i) top[i] = hn::Load(d, p + i * kLanes);
  for (int g = 1; g < groups; ++g)
    for (int i = 0; i < kParts; ++i) top[i] = hn::Max(top[i], hn::Load(d, p + g * 16 + i * kLanes));
  const float highest = fold(top, FoldMax());
  float& m = rows.state.m[row];
  float& l = rows.state.l[row];
  if (highest > m) {
    const float factor = kernels::exact_exp(m - highest);
    m = highest;
    l *= factor;
    for (int space = 0; space < rows.state.n_spaces; ++space)
      scale_row(rows.acc(space, row), rows.shape.head_dim, factor);
  }

  const Vf base = hn::Set(d, m);
  Vf sums[kParts];
  for (int i = 0; i < kParts; ++i) sums[i] = hn::Zero(d);
  for (int g = 0; g < groups; ++g) {
    for (int i = 0; i < kParts; ++i) {
      float* at = p + g * 16 + i * kLanes;
      const Vf weight = exact_exp(hn::Sub(hn::Load(d, at), base));
      hn::Store(weight, d, at);
      sums[i] = hn::Add(sums[i], weight);
    }
  }
  l += fold(sums, FoldSum());
}

// Rows whose query is not finite in any variant that was used end as NaN, whatever the integers made of them.
HWY_INLINE void poison_row(const Rows& rows, size_t row) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  rows.state.m[row] = nan;
  rows.state.l[row] = nan;
  for (int space = 0; space < rows.state.n_spaces; ++space) {
    float* acc = rows.acc(space, row);
    for (int j = 0; j < rows.shape.head_dim; ++j) acc[j] = nan;
  }
}

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ATTEND_MATH_INL_H_
