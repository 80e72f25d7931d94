// Codes to levels, sixteen lanes of four bytes at a time, and the integer dot product of four bytes that uses them.
// Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ATTEND_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ATTEND_CODES_INL_H_
#undef RECALLD_KERNELS_CPU_ATTEND_CODES_INL_H_
#else
#define RECALLD_KERNELS_CPU_ATTEND_CODES_INL_H_
#endif

#include <cstring>

#include "kernels/cpu/attend_trellis-inl.h"

HWY_BEFORE_NAMESPACE();
// Highway 1.0 requires AVX-512 VNNI for this target but does not switch the compiler to it.
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES("avx512vnni")
#endif
namespace recalld::kernels::HWY_NAMESPACE {

// Quads (groups of four consecutive dims or tokens) that 64 bytes of codes hold for each of 16 lanes.
template <int bits>
constexpr int kQuads = bits == 4 ? 2 : 4;
constexpr size_t kBlock = 64;
constexpr size_t kPartBytes = kBlock / kParts;

// Part of a block. Bands that follow one of 3 bits begin at any multiple of 32 bytes.
HWY_INLINE Vu8 load_block(const uint8_t* block) { return hn::LoadU(U8(), block); }

// The level of each code, as bytes to shuffle from: codes index 16-byte tables.
struct LevelTable {
  Vu8 levels;
  Vu8 upper;  // of 4-bit codes on the trellis grid: those of the subsets 2 and 3
};

// On the trellis grid the index is a code's place in its subset, then the subset's low bit, then its high bit unless
// that chooses the table.
template <int bits, bool trellis>
HWY_INLINE LevelTable level_table(const Codebook& book, int offset) {
  alignas(16) uint8_t table[2][16];
  for (int i = 0; i < 32; ++i) {
    int rank = i % (1 << bits);
    if constexpr (trellis) {
      constexpr int kPlaces = 1 << (bits - 1);
      const int subset = i / kPlaces % 4;
      rank = i % kPlaces * 4 + subset;
    }
    table[i / 16][i % 16] = static_cast<uint8_t>(book.levels[rank] + offset);
  }
  return {hn::LoadDup128(U8(), table[0]), hn::LoadDup128(U8(), table[1])};
}

HWY_INLINE Vu8 bits_where(const uint8_t* mask, int part, uint8_t value) {
  const U8 d;
  return hn::IfThenElseZero(hn::LoadMaskBits(d, mask + static_cast<size_t>(part) * (8 / kParts)), hn::Set(d, value));
}

// Levels of quad `quad` of a block, for part `part` of its lanes.
template <int bits, bool trellis, int quad>
HWY_INLINE Vu8 unpack(const LevelTable& table, Vu8 block, const BlockMasks& masks, int part) {
  const U8 d;
  constexpr int kWidth = bits == 4 ? 4 : 2;
  constexpr int kShift = quad * kWidth;
  constexpr int kCode = trellis && bits != 3 ? kWidth - 1 : kWidth;  // without the path bit
  Vu8 code = block;
  if constexpr (kShift > 0)
    code = hn::BitCast(d, hn::ShiftRight<kShift>(hn::BitCast(hn::RebindToUnsigned<I16>(), block)));
  code = hn::And(code, hn::Set(d, static_cast<uint8_t>((1 << kCode) - 1)));
  if constexpr (trellis) {
    const auto* bit0 = reinterpret_cast<const uint8_t*>(masks.bit0 + quad * masks.step);
    const auto* bit1 = reinterpret_cast<const uint8_t*>(masks.bit1 + quad * masks.step);
    code = hn::Or(code, bits_where(bit0, part, 1 << (bits - 1)));
    if constexpr (bits == 4) {
      const auto upper = hn::LoadMaskBits(d, bit1 + static_cast<size_t>(part) * (8 / kParts));
      return hn::IfThenElse(upper, hn::TableLookupBytes(table.upper, code), hn::TableLookupBytes(table.levels, code));
    } else {
      code = hn::Or(code, bits_where(bit1, part, 1 << bits));
    }
  } else if constexpr (bits == 3) {
    code = hn::Or(code, bits_where(masks.high + quad * masks.high_step, part, 4));
  }
  return hn::TableLookupBytes(table.levels, code);
}

#if HWY_TARGET == HWY_AVX3_DL

// Sum over four bytes of each lane of u * s.
HWY_INLINE Vi dot4(Vi sum, Vu8 u, hn::Vec<I8> s) { return Vi{_mm512_dpbusd_epi32(sum.raw, u.raw, s.raw)}; }

// A quad of the small side of the product (query or weights), the same in all lanes.
struct Quad {
  int32_t bytes;
};
// Levels enter the dot product with queries as unsigned bytes, 128 too large.
constexpr int kKeyOffset = 128;

HWY_INLINE Vi dot_key(Vi sum, Vu8 levels, const Quad& q) {
  return dot4(sum, levels, hn::BitCast(I8(), hn::Set(I32(), q.bytes)));
}
HWY_INLINE Vi dot_value(Vi sum, Vu8 levels, const Quad& w) {
  return dot4(sum, hn::BitCast(U8(), hn::Set(I32(), w.bytes)), hn::BitCast(I8(), levels));
}

// Levels as the products take them.
using Levels = Vu8;
HWY_INLINE Levels widen(Vu8 levels) { return levels; }

// n bytes, a multiple of 4, as quads.
template <int n, class Byte>
HWY_INLINE void store_quads(const Byte* bytes, Quad* quads) {
  std::memcpy(quads, bytes, n);
}

#else

// Without a four-byte product: bytes 0, 2 and 1, 3 of each lane as pairs of 16-bit numbers.
struct Quad {
  int32_t even, odd;
};
constexpr int kKeyOffset = 0;

struct Levels {
  hn::Vec<I16> even, odd;
};
HWY_INLINE Levels widen(Vu8 levels) {
  const auto pairs = hn::BitCast(I16(), levels);
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs)), hn::ShiftRight<8>(pairs)};
}

// Sum of the two products of each lane.
HWY_INLINE Vi multiply_pairs(hn::Vec<I16> a, hn::Vec<I16> b) {
#if HWY_TARGET == HWY_AVX3
  return Vi{_mm512_madd_epi16(a.raw, b.raw)};
#elif HWY_TARGET == HWY_AVX2
  return Vi{_mm256_madd_epi16(a.raw, b.raw)};
#else
  const I32 d;
  const Vi x = hn::BitCast(d, a), y = hn::BitCast(d, b);
  const Vi low = hn::Mul(hn::ShiftRight<16>(hn::ShiftLeft<16>(x)), hn::ShiftRight<16>(hn::ShiftLeft<16>(y)));
  return hn::Add(low, hn::Mul(hn::ShiftRight<16>(x), hn::ShiftRight<16>(y)));
#endif
}

HWY_INLINE Vi dot_pairs(Vi sum, const Levels& levels, const Quad& quad) {
  const I32 d;
  const I16 d16;
  sum = hn::Add(sum, multiply_pairs(levels.even, hn::BitCast(d16, hn::Set(d, quad.even))));
  return hn::Add(sum, multiply_pairs(levels.odd, hn::BitCast(d16, hn::Set(d, quad.odd))));
}
HWY_INLINE Vi dot_key(Vi sum, const Levels& levels, const Quad& q) { return dot_pairs(sum, levels, q); }
HWY_INLINE Vi dot_value(Vi sum, const Levels& levels, const Quad& w) { return dot_pairs(sum, levels, w); }

template <int n, class Byte>
HWY_INLINE void store_quads(const Byte* bytes, Quad* quads) {
  for (int i = 0; i < n / 4; ++i) {
    int16_t wide[4];
    for (int b = 0; b < 4; ++b) wide[b] = bytes[4 * i + b];
    const int16_t even[2] = {wide[0], wide[2]};
    const int16_t odd[2] = {wide[1], wide[3]};
    std::memcpy(&quads[i].even, even, sizeof even);
    std::memcpy(&quads[i].odd, odd, sizeof odd);
  }
}

#endif

}  // namespace recalld::kernels::HWY_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ATTEND_CODES_INL_H_
