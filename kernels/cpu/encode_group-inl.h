// Sixteen tokens at a time, one per lane: butterflies, sums and comparisons then need no shuffles.
// Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ENCODE_GROUP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ENCODE_GROUP_INL_H_
#undef RECALLD_KERNELS_CPU_ENCODE_GROUP_INL_H_
#else
#define RECALLD_KERNELS_CPU_ENCODE_GROUP_INL_H_
#endif

#include <hwy/highway.h>

#include <bit>
#include <cfloat>
#include <cmath>

#include "base/bytes.h"
#include "kernels/encode.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kTokens = kTokenGroup;
constexpr float kSmallestSquare = 1e-30F;

// Lanes that hold tokens; a group is kTokens / lanes vectors.
using LaneTag = hn::CappedTag<float, kTokens>;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V safe(D d, V x) {
  const auto finite = hn::IfThenElseZero(hn::Le(hn::Abs(x), hn::Set(d, FLT_MAX)), x);
  return hn::Min(hn::Max(finite, hn::Set(d, -kLargestHalf)), hn::Set(d, kLargestHalf));
}

// f32 within the range of finite halves, to the bits of the nearest half (ties to even) in 32-bit lanes. Integer
// arithmetic gives every target the same result, with or without conversion instructions.
template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> half_bits(D d, V x) {
  const hn::RebindToSigned<D> di;
  const auto bits = hn::BitCast(di, x);
  const auto magnitude = hn::And(bits, hn::Set(di, 0x7fffffff));
  const auto sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(di, 0x8000));
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 1));
  const auto rebased = hn::Add(hn::Add(magnitude, hn::Set(di, static_cast<int32_t>(0xc8000fffu))), odd);
  const auto normal = hn::ShiftRight<13>(rebased);
  // Adding one half puts the last bit of a subnormal half at the last bit of the sum.
  const auto small =
      hn::Sub(hn::BitCast(di, hn::Add(hn::BitCast(d, magnitude), hn::Set(d, 0.5F))), hn::Set(di, 0x3f000000));
  const auto half = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x38800000)), small, normal);
  return hn::Or(half, sign);
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void store_halves(D d, V x, uint16_t* out) {
  const hn::Rebind<uint16_t, D> dh;
  hn::StoreU(hn::DemoteTo(dh, half_bits(d, x)), dh, out);
}

#if HWY_TARGET != HWY_SCALAR

// One token group, transposed: dim-major, a lane per token. Missing tokens are zero.
struct Group {
  alignas(64) float value[kMaxHeadDim * kTokens];
};

inline void load_group(int head_dim, int n, const float* rows, size_t stride, Group& group) {
  const hn::FixedTag<float, 4> d;
  const hn::RepartitionToWide<decltype(d)> dw;
  alignas(64) static constexpr float kZeros[kMaxHeadDim] = {};
  for (int t = 0; t < static_cast<int>(kTokens); t += 4) {
    const float* row[4];
    for (int i = 0; i < 4; ++i) row[i] = t + i < n ? rows + static_cast<size_t>(t + i) * stride : kZeros;
    for (int dim = 0; dim < head_dim; dim += 4) {
      const auto a = safe(d, hn::LoadU(d, row[0] + dim)), b = safe(d, hn::LoadU(d, row[1] + dim));
      const auto c = safe(d, hn::LoadU(d, row[2] + dim)), e = safe(d, hn::LoadU(d, row[3] + dim));
      const auto ab_low = hn::BitCast(dw, hn::InterleaveLower(d, a, b));
      const auto ab_high = hn::BitCast(dw, hn::InterleaveUpper(d, a, b));
      const auto ce_low = hn::BitCast(dw, hn::InterleaveLower(d, c, e));
      const auto ce_high = hn::BitCast(dw, hn::InterleaveUpper(d, c, e));
      float* out = group.value + static_cast<size_t>(dim) * kTokens + t;
      hn::Store(hn::BitCast(d, hn::InterleaveLower(dw, ab_low, ce_low)), d, out);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(dw, ab_low, ce_low)), d, out + kTokens);
      hn::Store(hn::BitCast(d, hn::InterleaveLower(dw, ab_high, ce_high)), d, out + 2 * kTokens);
      hn::Store(hn::BitCast(d, hn::InterleaveUpper(dw, ab_high, ce_high)), d, out + 3 * kTokens);
    }
  }
}

// The butterflies of one block of `size` dims, two stages per pass over memory, without the norm.
inline void butterflies(float* HWY_RESTRICT x, size_t size) {
  const LaneTag d;
  const size_t lanes = hn::Lanes(d);
  size_t half = size / 2;
  for (; half >= 2; half /= 4) {
    const size_t step = half / 2 * kTokens;
    for (size_t start = 0; start < size; start += 2 * half) {
      for (size_t i = start * kTokens; i < start * kTokens + step; i += lanes) {
        const auto r0 = hn::Load(d, x + i), r1 = hn::Load(d, x + i + step);
        const auto r2 = hn::Load(d, x + i + 2 * step), r3 = hn::Load(d, x + i + 3 * step);
        const auto a0 = hn::Add(r0, r2), a2 = hn::Sub(r0, r2), a1 = hn::Add(r1, r3), a3 = hn::Sub(r1, r3);
        hn::Store(hn::Add(a0, a1), d, x + i);
        hn::Store(hn::Sub(a0, a1), d, x + i + step);
        hn::Store(hn::Add(a2, a3), d, x + i + 2 * step);
        hn::Store(hn::Sub(a2, a3), d, x + i + 3 * step);
      }
    }
  }
  if (half == 1) {
    for (size_t i = 0; i < size * kTokens; i += 2 * kTokens) {
      for (size_t lane = i; lane < i + kTokens; lane += lanes) {
        const auto a = hn::Load(d, x + lane), b = hn::Load(d, x + lane + kTokens);
        hn::Store(hn::Add(a, b), d, x + lane);
        hn::Store(hn::Sub(a, b), d, x + lane + kTokens);
      }
    }
  }
}

// square[token] = squared length over n_dims dims from `first` on.
inline void measure_group(int first, int n_dims, const Group& group, float* square) {
  const LaneTag d;
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    auto sum = hn::Zero(d);
    const float* at = group.value + static_cast<size_t>(first) * kTokens + lane;
    for (int dim = 0; dim < n_dims; ++dim, at += kTokens) sum = hn::Add(sum, hn::Mul(hn::Load(d, at), hn::Load(d, at)));
    hn::Store(sum, d, square + lane);
  }
}

inline void centre_group(int head_dim, const float* mean, Group& group) {
  const LaneTag d;
  float* at = group.value;
  for (int dim = 0; dim < head_dim; ++dim)
    for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d), at += hn::Lanes(d))
      hn::Store(hn::Sub(hn::Load(d, at), hn::Set(d, mean[dim])), d, at);
}

// value = T value - mean; square[token] = its squared length.
inline void transform_group(const SignFlips& flips, int head_dim, const float* mean, Group& group, float* square) {
  const LaneTag d;
  const size_t lanes = hn::Lanes(d);
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t dim = 0; dim < dims; ++dim) {
    const auto sign = hn::Set(d, flips.sign[dim]);
    for (size_t i = dim * kTokens; i < (dim + 1) * kTokens; i += lanes)
      hn::Store(hn::Mul(hn::Load(d, group.value + i), sign), d, group.value + i);
  }
  for (size_t lane = 0; lane < kTokens; lane += lanes) hn::Store(hn::Zero(d), d, square + lane);
  for (size_t start = 0; start < dims;) {
    const size_t size = std::bit_floor(dims - start);
    butterflies(group.value + start * kTokens, size);
    const auto norm = hn::Set(d, 1.0F / std::sqrt(static_cast<float>(size)));
    for (size_t lane = 0; lane < kTokens; lane += lanes) {
      auto sum = hn::Load(d, square + lane);
      for (size_t dim = start; dim < start + size; ++dim) {
        float* at = group.value + dim * kTokens + lane;
        auto y = hn::Mul(hn::Load(d, at), norm);
        if (mean != nullptr) y = hn::Sub(y, hn::Set(d, mean[dim]));
        sum = hn::Add(sum, hn::Mul(y, y));
        hn::Store(y, d, at);
      }
      hn::Store(sum, d, square + lane);
    }
    start += size;
  }
}

#endif

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ENCODE_GROUP_INL_H_
