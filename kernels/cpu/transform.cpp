#include "kernels/transform.h"

#include <bit>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/transform.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

void hadamard_rows(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  reference::hadamard(flips, head_dim, n_rows, in, stride, out);
}
void inverse_hadamard_rows(const SignFlips& flips, int head_dim, int n_rows, float* rows) {
  reference::inverse_hadamard(flips, head_dim, n_rows, rows);
}

#else

// One stage, for half >= kLanes: whole vectors on both sides of the butterfly.
template <size_t kLanes>
HWY_INLINE void stage(float* HWY_RESTRICT x, size_t size, size_t half) {
  const hn::CappedTag<float, kLanes> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t start = 0; start < size; start += 2 * half) {
    for (size_t i = start; i < start + half; i += lanes) {
      const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + i + half);
      hn::StoreU(hn::Add(a, b), d, x + i);
      hn::StoreU(hn::Sub(a, b), d, x + i + half);
    }
  }
}

// The stages of half 2 and 1 stay within four neighbours; then the norm.
HWY_INLINE void last_stages(float* HWY_RESTRICT x, size_t size, float norm_value) {
  const hn::CappedTag<float, 16> d;
  const size_t lanes = hn::Lanes(d);
  alignas(64) static constexpr float kSignTwo[16] = {1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1, 1, 1, -1, -1};
  alignas(64) static constexpr float kSignOne[16] = {1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1};
  const auto sign_two = hn::Load(d, kSignTwo), sign_one = hn::Load(d, kSignOne);
  const auto norm = hn::Set(d, norm_value);
  for (size_t i = 0; i < size; i += lanes) {
    auto v = hn::LoadU(d, x + i);
    v = hn::Add(hn::Shuffle1032(v), hn::Mul(v, sign_two));
    v = hn::Add(hn::Shuffle2301(v), hn::Mul(v, sign_one));
    hn::StoreU(hn::Mul(v, norm), d, x + i);
  }
}

HWY_INLINE void all_blocks(float* HWY_RESTRICT x, size_t head_dim) {
  for (size_t start = 0; start < head_dim;) {
    const size_t size = std::bit_floor(head_dim - start);
    float* block = x + start;
    for (size_t half = size / 2; half >= 16; half /= 2) stage<16>(block, size, half);
    stage<8>(block, size, 8);
    stage<4>(block, size, 4);
    last_stages(block, size, 1.0F / std::sqrt(static_cast<float>(size)));
    start += size;
  }
}

HWY_INLINE void flip(const SignFlips& flips, size_t head_dim, const float* in, float* out) {
  const hn::CappedTag<float, 16> d;
  for (size_t i = 0; i < head_dim; i += hn::Lanes(d))
    hn::StoreU(hn::Mul(hn::LoadU(d, in + i), hn::LoadU(d, flips.sign + i)), d, out + i);
}

void hadamard_rows(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row) {
    flip(flips, dims, in + row * stride, out + row * dims);
    all_blocks(out + row * dims, dims);
  }
}

void inverse_hadamard_rows(const SignFlips& flips, int head_dim, int n_rows, float* rows) {
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row) {
    all_blocks(rows + row * dims, dims);
    flip(flips, dims, rows + row * dims, rows + row * dims);
  }
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace recalld::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace recalld::kernels {

HWY_EXPORT(hadamard_rows);
HWY_EXPORT(inverse_hadamard_rows);

void hadamard(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out) {
  HWY_DYNAMIC_DISPATCH(hadamard_rows)(flips, head_dim, n_rows, in, stride, out);
}

void inverse_hadamard(const SignFlips& flips, int head_dim, int n_rows, float* rows) {
  HWY_DYNAMIC_DISPATCH(inverse_hadamard_rows)(flips, head_dim, n_rows, rows);
}

}  // namespace recalld::kernels
#endif
