// Sixteen tokens at a time, one per lane: butterflies, sums and comparisons then need no shuffles, and a word of the
// K layout is four code vectors shifted together.
#include "kernels/encode.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/encode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kTokens = kTokenGroup;
constexpr float kLargestHalf = 65504.0F;
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

#if HWY_TARGET == HWY_SCALAR

void encode_key_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                     uint8_t* codes, uint16_t* scales) {
  reference::encode_keys(spec, n_rows, rows, stride, mean, codes, scales);
}
void encode_value_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                       uint16_t* scales) {
  reference::encode_values(spec, n_rows, rows, stride, codes, scales);
}
void key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  reference::store_key_halves(head_dim, n_rows, rows, stride, k);
}
void value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  reference::store_value_halves(head_dim, n_rows, rows, stride, v);
}

#else

// One token group, transposed: dim-major, a lane per token. Missing tokens are zero.
struct Group {
  alignas(64) float value[kMaxHeadDim * kTokens];
};

void load_group(int head_dim, int n, const float* rows, size_t stride, Group& group) {
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
void butterflies(float* HWY_RESTRICT x, size_t size) {
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

// value = T value - mean; square[token] = its squared length.
void transform_group(const SignFlips& flips, int head_dim, const float* mean, Group& group, float* square) {
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

// The positive half of a codebook. step[i] adds, in one integer, the rise of the level and, 8 bits up, one to the rank.
struct PositiveHalf {
  float boundary[7];
  int32_t step[7];
  int32_t first_level;
  float unit;
};

PositiveHalf positive_half(const Codebook& book) {
  PositiveHalf table{};
  const int half = 1 << (book.bits - 1);
  for (int i = 0; i + 1 < half; ++i) {
    table.boundary[i] = book.boundaries[half + i];
    table.step[i] = book.levels[half + i + 1] - book.levels[half + i] + 256;
  }
  table.first_level = book.levels[half];
  table.unit = book.unit;
  return table;
}

// Codes of the first n tokens (others 0): emit(dim, lane, codes as 32-bit lanes). Scales as halves.
template <int kBits, class Emit>
HWY_INLINE void quantise_group(const PositiveHalf& table, ScaleRule rule, int head_dim, int n, const Group& group,
                               const float* square, uint16_t* scales, const Emit& emit) {
  const LaneTag d;
  const hn::RebindToSigned<LaneTag> di;
  constexpr int kHalf = 1 << (kBits - 1);
  const auto zero = hn::Zero(d);
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    const auto valid = hn::VecFromMask(di, hn::Lt(hn::Iota(di, static_cast<int32_t>(lane)), hn::Set(di, n)));
    const auto energy = hn::Load(d, square + lane);
    const auto not_zero = hn::Ge(energy, hn::Set(d, kSmallestSquare));
    const auto dims = hn::Set(d, static_cast<float>(head_dim));
    const auto to_unit = hn::IfThenElseZero(not_zero, hn::Sqrt(hn::Div(dims, energy)));
    auto dot = zero, level_square = zero;
    for (int dim = 0; dim < head_dim; ++dim) {
      const auto y = hn::Load(d, group.value + static_cast<size_t>(dim) * kTokens + lane);
      const auto z = hn::Mul(y, to_unit);
      const auto size = hn::Abs(z);
      auto packed = hn::Set(di, table.first_level);
      for (int i = 0; i < kHalf - 1; ++i) {
        const auto above = hn::RebindMask(di, hn::Ge(size, hn::Set(d, table.boundary[i])));
        packed = hn::Add(packed, hn::IfThenElseZero(above, hn::Set(di, table.step[i])));
      }
      const auto rank = hn::ShiftRight<8>(packed);
      const auto magnitude = hn::ConvertTo(d, hn::And(packed, hn::Set(di, 255)));
      const auto negative = hn::Lt(z, zero);
      const auto level = hn::IfThenElse(negative, hn::Neg(magnitude), magnitude);
      dot = hn::Add(dot, hn::Mul(y, level));
      level_square = hn::Add(level_square, hn::Mul(magnitude, magnitude));
      const auto code = hn::IfThenElse(hn::RebindMask(di, negative), hn::Sub(hn::Set(di, kHalf - 1), rank),
                                       hn::Add(hn::Set(di, kHalf), rank));
      emit(static_cast<size_t>(dim), lane, hn::And(code, valid));
    }
    const auto unit = hn::Set(d, table.unit);
    auto scale = zero;
    switch (rule) {
      case ScaleRule::kMatched:
        scale = hn::Div(hn::Sqrt(hn::Div(energy, level_square)), unit);
        break;
      case ScaleRule::kUnbiased:
        scale = hn::Div(energy, hn::Mul(dot, unit));
        break;
      case ScaleRule::kLeastSquares:
        scale = hn::Div(dot, hn::Mul(level_square, unit));
        break;
    }
    scale = hn::IfThenElseZero(not_zero, hn::Min(scale, hn::Set(d, kLargestHalf)));
    scale = hn::And(scale, hn::BitCast(d, valid));
    store_halves(d, scale, scales + lane);
  }
}

// Sixteen 32-bit words, whose bytes are codes of one coordinate pair of the layout: what packing works on, both sides.
using Words = const uint32_t*;

// out[lane] = the `count` words of codes side by side in each byte, the low `bits` bits of each.
template <int kBits, int kCount>
HWY_INLINE void pack_words(Words words, size_t pitch, uint8_t* out) {
  const hn::CappedTag<uint32_t, kTokens> d;
  const auto mask = hn::Set(d, kBits == 4 ? 0x0f0f0f0fu : 0x03030303u);
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    auto packed = hn::And(hn::Load(d, words + lane), mask);
    packed = hn::Or(packed, hn::ShiftLeft<kBits>(hn::And(hn::Load(d, words + pitch + lane), mask)));
    if constexpr (kCount == 4) {
      packed = hn::Or(packed, hn::ShiftLeft<2 * kBits>(hn::And(hn::Load(d, words + 2 * pitch + lane), mask)));
      packed = hn::Or(packed, hn::ShiftLeft<3 * kBits>(hn::And(hn::Load(d, words + 3 * pitch + lane), mask)));
    }
    hn::StoreU(packed, d, reinterpret_cast<uint32_t*>(out) + lane);
  }
}

// Bit 2 of every byte of sixteen words, as 64 bits: bit 4 * lane + byte.
HWY_INLINE void pack_high_bits(Words words, uint8_t* out) {
  const hn::CappedTag<uint32_t, kTokens> d;
  alignas(64) uint32_t nibbles[kTokens];
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    const auto high = hn::And(hn::ShiftRight<2>(hn::Load(d, words + lane)), hn::Set(d, 0x01010101u));
    const auto pairs = hn::Or(high, hn::ShiftRight<7>(high));
    hn::Store(hn::And(hn::Or(pairs, hn::ShiftRight<14>(pairs)), hn::Set(d, 0xfu)), d, nibbles + lane);
  }
  uint64_t bits = 0;
  for (size_t lane = 0; lane < kTokens; ++lane) bits |= static_cast<uint64_t>(nibbles[lane]) << (4 * lane);
  std::memcpy(out, &bits, sizeof bits);
}

// A side's codes as words: K [head_dim / 4][16 tokens], bytes = 4 dims; V [4][head_dim], bytes = 4 tokens.
struct CodeWords {
  alignas(64) uint32_t word[kMaxHeadDim * kTokens / 4];
};

template <int kBits>
void encode_key_group(const EncodeSpec& spec, const PositiveHalf& table, int n, size_t group_index, size_t padded,
                      const Group& group, const float* square, uint8_t* codes, uint16_t* scales) {
  const hn::RebindToSigned<LaneTag> di;
  const auto dims = static_cast<size_t>(spec.head_dim);
  CodeWords words;
  quantise_group<kBits>(table, spec.rule, spec.head_dim, n, group, square, scales,
                        [&](size_t dim, size_t lane, auto code) {
                          auto* at = reinterpret_cast<int32_t*>(words.word) + dim / 4 * kTokens + lane;
                          const auto shifted = hn::ShiftLeftSame(code, static_cast<int>(dim % 4 * 8));
                          hn::Store(dim % 4 == 0 ? shifted : hn::Or(hn::Load(di, at), shifted), di, at);
                        });
  if constexpr (kBits == 4) {
    uint8_t* out = codes + group_index * dims * 8;
    for (size_t e = 0; e < dims / 8; ++e) pack_words<4, 2>(words.word + e * 2 * kTokens, kTokens, out + e * 64);
  } else {
    uint8_t* out = codes + group_index * dims * 4;
    for (size_t e = 0; e < dims / 16; ++e) pack_words<2, 4>(words.word + e * 4 * kTokens, kTokens, out + e * 64);
    if constexpr (kBits == 3) {
      uint8_t* high = codes + padded * dims / 4 + group_index * dims * 2;
      for (size_t e = 0; e < dims / 4; ++e) pack_high_bits(words.word + e * kTokens, high + e * 8);
    }
  }
}

template <int kBits>
void encode_value_group(const EncodeSpec& spec, const PositiveHalf& table, int n, size_t group_index, size_t padded,
                        const Group& group, const float* square, uint8_t* codes, uint16_t* scales) {
  const hn::RebindToSigned<LaneTag> di;
  const hn::Rebind<uint8_t, LaneTag> db;
  const auto dims = static_cast<size_t>(spec.head_dim);
  CodeWords words;
  quantise_group<kBits>(table, spec.rule, spec.head_dim, n, group, square, scales,
                        [&](size_t dim, size_t lane, auto code) {
                          alignas(16) uint32_t quads[kTokens / 4];
                          hn::Store(hn::DemoteTo(db, code), db, reinterpret_cast<uint8_t*>(quads));
                          for (size_t i = 0; i < hn::Lanes(di) / 4; ++i)
                            words.word[(lane / 4 + i) * dims + dim] = quads[i];
                        });
  for (size_t e = 0; e < dims / 16; ++e) {
    const uint32_t* at = words.word + e * 16;
    if constexpr (kBits == 4) {
      uint8_t* out = codes + group_index * dims * 8 + e * 64;
      pack_words<4, 2>(at, dims, out);
      pack_words<4, 2>(at + 2 * dims, dims, out + dims * 4);
    } else {
      pack_words<2, 4>(at, dims, codes + group_index * dims * 4 + e * 64);
    }
    if constexpr (kBits == 3) {
      uint8_t* high = codes + padded * dims / 4 + group_index * dims * 2 + e * 8;
      for (size_t quad = 0; quad < 4; ++quad) pack_high_bits(at + quad * dims, high + quad * (dims / 2));
    }
  }
}

template <class EncodeGroup>
HWY_INLINE void for_each_group(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                               const EncodeGroup& encode_group) {
  Group group;
  alignas(64) float square[kTokens];
  for (int first = 0; first < n_rows; first += kTokenGroup) {
    const int n = std::min(kTokenGroup, n_rows - first);
    load_group(spec.head_dim, n, rows + static_cast<size_t>(first) * stride, stride, group);
    transform_group(*spec.flips, spec.head_dim, mean, group, square);
    encode_group(n, first, group, square);
  }
}

void encode_key_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                     uint8_t* codes, uint16_t* scales) {
  const PositiveHalf table = positive_half(lloyd_max(spec.bits));
  const auto padded = static_cast<size_t>(padded_tokens(n_rows));
  for_each_group(spec, n_rows, rows, stride, mean, [&](int n, int first, const Group& group, const float* square) {
    const auto index = static_cast<size_t>(first) / kTokens;
    switch (spec.bits) {
      case 4:
        return encode_key_group<4>(spec, table, n, index, padded, group, square, codes, scales + first);
      case 3:
        return encode_key_group<3>(spec, table, n, index, padded, group, square, codes, scales + first);
      default:
        return encode_key_group<2>(spec, table, n, index, padded, group, square, codes, scales + first);
    }
  });
}

void encode_value_rows(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                       uint16_t* scales) {
  const PositiveHalf table = positive_half(lloyd_max(spec.bits));
  const auto padded = static_cast<size_t>(padded_tokens(n_rows));
  for_each_group(spec, n_rows, rows, stride, nullptr, [&](int n, int first, const Group& group, const float* square) {
    const auto index = static_cast<size_t>(first) / kTokens;
    switch (spec.bits) {
      case 4:
        return encode_value_group<4>(spec, table, n, index, padded, group, square, codes, scales + first);
      case 3:
        return encode_value_group<3>(spec, table, n, index, padded, group, square, codes, scales + first);
      default:
        return encode_value_group<2>(spec, table, n, index, padded, group, square, codes, scales + first);
    }
  });
}

void key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  const LaneTag d;
  Group group;
  const auto values = static_cast<size_t>(head_dim) * kTokens;
  for (int first = 0; first < n_rows; first += kTokenGroup) {
    load_group(head_dim, std::min(kTokenGroup, n_rows - first), rows + static_cast<size_t>(first) * stride, stride,
               group);
    uint16_t* out = k + static_cast<size_t>(first) / kTokens * values;
    for (size_t i = 0; i < values; i += hn::Lanes(d)) store_halves(d, hn::Load(d, group.value + i), out + i);
  }
}

void value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  const LaneTag d;
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row)
    for (size_t i = 0; i < dims; i += hn::Lanes(d))
      store_halves(d, safe(d, hn::LoadU(d, rows + row * stride + i)), v + row * dims + i);
  const size_t used = static_cast<size_t>(n_rows) * dims;
  std::fill(v + used, v + static_cast<size_t>(padded_tokens(n_rows)) * dims, static_cast<uint16_t>(0));
}

#endif

// sum = the mean of the rows.
void mean_of_rows(int head_dim, int n_rows, const float* rows, size_t stride, float* sum) {
  const LaneTag d;
  const auto dims = static_cast<size_t>(head_dim);
  const auto share = hn::Set(d, 1.0F / static_cast<float>(n_rows));
  for (size_t i = 0; i < dims; i += hn::Lanes(d)) {
    auto total = hn::Zero(d);
    for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row)
      total = hn::Add(total, safe(d, hn::LoadU(d, rows + row * stride + i)));
    hn::StoreU(hn::Mul(total, share), d, sum + i);
  }
}

void rounded_halves(int n, const float* values, uint16_t* halves) {
  const LaneTag d;
  for (size_t i = 0; i < static_cast<size_t>(n); i += hn::Lanes(d))
    store_halves(d, safe(d, hn::LoadU(d, values + i)), halves + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace recalld::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "base/bytes.h"

namespace recalld::kernels {

HWY_EXPORT(encode_key_rows);
HWY_EXPORT(encode_value_rows);
HWY_EXPORT(key_halves);
HWY_EXPORT(value_halves);
HWY_EXPORT(mean_of_rows);
HWY_EXPORT(rounded_halves);

void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 uint8_t* codes, uint16_t* scales) {
  HWY_DYNAMIC_DISPATCH(encode_key_rows)(spec, n_rows, rows, stride, mean, codes, scales);
}

void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                   uint16_t* scales) {
  HWY_DYNAMIC_DISPATCH(encode_value_rows)(spec, n_rows, rows, stride, codes, scales);
}

void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value) {
  alignas(64) float sum[kMaxHeadDim];
  HWY_DYNAMIC_DISPATCH(mean_of_rows)(head_dim, n_rows, rows, stride, sum);
  hadamard(flips, head_dim, 1, sum, static_cast<size_t>(head_dim), sum);
  HWY_DYNAMIC_DISPATCH(rounded_halves)(head_dim, sum, mean);
  for (int i = 0; i < head_dim; ++i) mean_value[i] = half_to_float(mean[i]);
}

void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  HWY_DYNAMIC_DISPATCH(key_halves)(head_dim, n_rows, rows, stride, k);
}

void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  HWY_DYNAMIC_DISPATCH(value_halves)(head_dim, n_rows, rows, stride, v);
}

}  // namespace recalld::kernels
#endif
