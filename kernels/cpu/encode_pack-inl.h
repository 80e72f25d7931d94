// Codes of sixteen tokens, as bytes, into the layouts of kernels/layout.h. Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ENCODE_PACK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ENCODE_PACK_INL_H_
#undef RECALLD_KERNELS_CPU_ENCODE_PACK_INL_H_
#else
#define RECALLD_KERNELS_CPU_ENCODE_PACK_INL_H_
#endif

#include <cstring>

#include "kernels/cpu/encode_group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

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

// A token group's place among those of a band.
struct GroupPlace {
  size_t index;   // of the group
  size_t padded;  // tokens of the page
};

// Codes of a band of `dims` dims that begins at `codes`. words: of the band's first dim.
template <int kBits>
void pack_keys(Words words, size_t dims, const GroupPlace& at, uint8_t* codes) {
  if constexpr (kBits == 4) {
    uint8_t* out = codes + at.index * dims * 8;
    for (size_t e = 0; e < dims / 8; ++e) pack_words<4, 2>(words + e * 2 * kTokens, kTokens, out + e * 64);
  } else {
    uint8_t* out = codes + at.index * dims * 4;
    for (size_t e = 0; e < dims / 16; ++e) pack_words<2, 4>(words + e * 4 * kTokens, kTokens, out + e * 64);
    if constexpr (kBits == 3) {
      uint8_t* high = codes + at.padded * dims / 4 + at.index * dims * 2;
      for (size_t e = 0; e < dims / 4; ++e) pack_high_bits(words + e * kTokens, high + e * 8);
    }
  }
}

// Likewise; pitch: words from one quad of tokens to the next, the dims of the whole side.
template <int kBits>
void pack_values(Words words, size_t pitch, size_t dims, const GroupPlace& at, uint8_t* codes) {
  for (size_t e = 0; e < dims / 16; ++e) {
    Words from = words + e * 16;
    if constexpr (kBits == 4) {
      uint8_t* out = codes + at.index * dims * 8 + e * 64;
      pack_words<4, 2>(from, pitch, out);
      pack_words<4, 2>(from + 2 * pitch, pitch, out + dims * 4);
    } else {
      pack_words<2, 4>(from, pitch, codes + at.index * dims * 4 + e * 64);
    }
    if constexpr (kBits == 3) {
      uint8_t* high = codes + at.padded * dims / 4 + at.index * dims * 2 + e * 8;
      for (size_t quad = 0; quad < 4; ++quad) pack_high_bits(from + quad * pitch, high + quad * (dims / 2));
    }
  }
}

#endif

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ENCODE_PACK_INL_H_
