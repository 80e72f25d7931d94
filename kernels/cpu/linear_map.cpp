#include "kernels/linear_map.h"

#include <algorithm>

#include "kernels/layout.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear_map.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

void map_all_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  reference::map_rows(by_input, head_dim, n_rows, in, stride, out);
}

#else

// A tile of the result stays in registers while the inputs go by: kRows rows, two vectors wide.
constexpr size_t kRows = 4;

template <size_t kN>
HWY_INLINE void map_tile(const float* HWY_RESTRICT by_input, size_t dims, const float* HWY_RESTRICT rows, size_t column,
                         float* HWY_RESTRICT out) {
  const hn::CappedTag<float, 8> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t at = column; at < column + 16; at += 2 * lanes) {
    auto a0 = hn::Zero(d), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, e0 = a0, e1 = a0;
    for (size_t j = 0; j < dims; ++j) {
      const auto m0 = hn::LoadU(d, by_input + j * dims + at), m1 = hn::LoadU(d, by_input + j * dims + at + lanes);
      const auto add = [&](size_t row, auto& low, auto& high) {
        const auto x = hn::Set(d, rows[row * dims + j]);
        low = hn::Add(low, hn::Mul(x, m0));
        high = hn::Add(high, hn::Mul(x, m1));
      };
      add(0, a0, a1);
      if constexpr (kN > 1) add(1, b0, b1);
      if constexpr (kN > 2) add(2, c0, c1);
      if constexpr (kN > 3) add(3, e0, e1);
    }
    const auto store = [&](size_t row, auto low, auto high) {
      hn::StoreU(low, d, out + row * dims + at);
      hn::StoreU(high, d, out + row * dims + at + lanes);
    };
    store(0, a0, a1);
    if constexpr (kN > 1) store(1, b0, b1);
    if constexpr (kN > 2) store(2, c0, c1);
    if constexpr (kN > 3) store(3, e0, e1);
  }
}

template <size_t kN>
HWY_INLINE void map_some(const float* by_input, size_t dims, const float* in, size_t stride, float* out) {
  float rows[kRows * kMaxHeadDim];
  for (size_t row = 0; row < kN; ++row) std::copy_n(in + row * stride, dims, rows + row * dims);
  for (size_t column = 0; column < dims; column += 16) map_tile<kN>(by_input, dims, rows, column, out);
}

void map_all_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  const auto dims = static_cast<size_t>(head_dim), n = static_cast<size_t>(n_rows);
  size_t row = 0;
  for (; row + kRows <= n; row += kRows) map_some<kRows>(by_input, dims, in + row * stride, stride, out + row * dims);
  const float* left = in + row * stride;
  float* to = out + row * dims;
  switch (n - row) {
    case 3:
      return map_some<3>(by_input, dims, left, stride, to);
    case 2:
      return map_some<2>(by_input, dims, left, stride, to);
    case 1:
      return map_some<1>(by_input, dims, left, stride, to);
    default:
      return;
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace recalld::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace recalld::kernels {

HWY_EXPORT(map_all_rows);

void map_rows(const float* by_input, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  HWY_DYNAMIC_DISPATCH(map_all_rows)(by_input, head_dim, n_rows, in, stride, out);
}

}  // namespace recalld::kernels
#endif
