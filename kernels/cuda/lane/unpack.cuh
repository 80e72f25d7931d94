// Codes of kernels/layout.h to the fragments of the integer matrix product mma.m16n8k32: codes are looked up four at a
// time by the byte permutation, whose selectors are nibbles, as the codes of a 32-bit word are.
//
// Both sides of a page look alike from here. A lane loads 16 bytes: the words of four rows (tokens of K, dims of V),
// each with codes of 8 (4 bits) or 16 (3 and 2 bits) places along the other axis, which the product sums over. Rows 0
// and 1 are the lane's two rows of one product, rows 2 and 3 those of another. The places are taken in the order in
// which the nibbles of a word come, so the other factor is put in that order too (interleave). Lane l of the warp is
// row group l / 4 and stands for part l % 4 of the places.
//
// 4 bits: a table of 16 levels is two of 8, and a selector with its third bit set gives the sign of a byte in place of
// it. The levels of codes 8..15 are positive and the table of codes 0..7 holds their magnitudes, so each lookup gives
// zeros for the codes of the other: two products, subtracted. No level needs a selection by its sign.
#pragma once

#include "kernels/cuda/lane/portable.cuh"
#include "kernels/layout.h"

namespace recalld::kernels::cuda {

// Levels as lookup tables.
struct LevelTable {
  uint32_t low[2] = {};   // codes 0..7; of 4 bits their magnitudes
  uint32_t high[2] = {};  // codes 8..15
  float unit = 0;
};

struct LevelTables {
  LevelTable of[2][3];  // [grid][bits - 2]
  RECALLD_LANE const LevelTable& at(Grid grid, int bits) const { return of[static_cast<int>(grid)][bits - 2]; }
};

inline LevelTables level_tables() {
  LevelTables tables;
  for (const Grid grid : {Grid::kLloydMax, Grid::kUniform}) {
    for (int bits = 2; bits <= 4; ++bits) {
      const Codebook& book = codebook(grid, bits);
      LevelTable& table = tables.of[static_cast<int>(grid)][bits - 2];
      table.unit = book.unit;
      for (int code = 0; code < 1 << bits; ++code) {
        const int level = bits == 4 && code < 8 ? -book.levels[code] : book.levels[code];
        uint32_t* words = code < 8 ? table.low : table.high;
        words[code % 8 / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(level)) << code % 4 * 8;
      }
    }
  }
  return tables;
}

// The other factor of words a and b, four places each, in the order of nibbles: of a in the even, of b in the odd.
RECALLD_LANE void interleave(uint32_t a, uint32_t b, uint32_t* fragment) {
  fragment[0] = permute_bytes(a, b, 0x5140);
  fragment[1] = permute_bytes(a, b, 0x7362);
}

// Registers of the other factor for one block of codes, from the words of four places each: of one product for 4 bits,
// of two for 3 and 2 bits.
template <int bits>
struct Factor {
  static constexpr int kProducts = bits == 4 ? 1 : 2;
  uint32_t b[kProducts][2];
};

template <int bits>
RECALLD_LANE Factor<bits> factor_of(const uint32_t* words) {
  Factor<bits> factor;
  if constexpr (bits == 4) {
    interleave(words[0], words[1], factor.b[0]);
  } else {
    interleave(words[0], words[2], factor.b[0]);
    interleave(words[1], words[3], factor.b[1]);
  }
  return factor;
}

// Sums of a lane: [pair of rows][register of the product's result]. 4 bits: the second are subtracted.
template <int bits>
struct Sums {
  int32_t plus[2][4] = {};
  int32_t minus[bits == 4 ? 2 : 1][4] = {};

  // row of the lane (0..3), column (0..1 of the lane's two).
  RECALLD_LANE int32_t at(int row, int column) const {
    const int register_index = row % 2 * 2 + column;
    if constexpr (bits == 4) return plus[row / 2][register_index] - minus[row / 2][register_index];
    return plus[row / 2][register_index];
  }
};

// The high bits of the four words of a 3-bit block. mask[i], of quad i: bit 4 r + b is word r, place 4 i + b.
struct HighBits {
  uint32_t even = 0, odd = 0;  // quads 0 and 2, quads 1 and 3: one byte per word, its nibbles' bits reversed
};

// Nibbles of two masks side by side, reversed, in bytes of the words 3, 1, 2, 0.
RECALLD_LANE uint32_t pair_masks(uint32_t first, uint32_t second) {
  const uint32_t reversed = reverse_bits(first | second << 16);
  const uint32_t a = reversed >> 16, b = reversed & 0xffff;
  return (a & 0x0f0f) | (b & 0x0f0f) << 4 | (a & 0xf0f0) << 12 | (b & 0xf0f0) << 16;
}

RECALLD_LANE HighBits high_bits(const uint32_t* mask) {
  return {pair_masks(mask[0], mask[2]), pair_masks(mask[1], mask[3])};
}

// Bit 2 of each nibble from the eight bits of one word: one multiplication copies them to where each is needed.
RECALLD_LANE uint32_t spread_high(uint32_t pairs, int row) {
  constexpr int kByte[4] = {3, 1, 2, 0};
  const uint32_t byte = pairs >> 8 * kByte[row] & 255;
  return (byte * 0x08040201u) >> 1 & 0x44444444u;
}

// sums += levels of a block times the factor, signed or unsigned bytes. words: 16 bytes of codes; high: of 3 bits.
template <int bits, bool unsigned_factor, class Warp>
RECALLD_LANE void multiply_block(Warp& warp, const Words4& words, const HighBits& high, const LevelTable& table,
                                 const Factor<bits>& factor, Sums<bits>& sums) {
  RECALLD_UNROLL
  for (int pair = 0; pair < 2; ++pair) {
    const uint32_t first = words.word[2 * pair], second = words.word[2 * pair + 1];
    if constexpr (bits == 4) {
      const uint32_t x = first ^ 0x88888888u, y = second ^ 0x88888888u;
      const uint32_t upper[4] = {
          permute_bytes(table.high[0], table.high[1], x), permute_bytes(table.high[0], table.high[1], y),
          permute_bytes(table.high[0], table.high[1], x >> 16), permute_bytes(table.high[0], table.high[1], y >> 16)};
      warp.template multiply_add<unsigned_factor>(sums.plus[pair], upper, factor.b[0]);
      const uint32_t lower[4] = {permute_bytes(table.low[0], table.low[1], first),
                                 permute_bytes(table.low[0], table.low[1], second),
                                 permute_bytes(table.low[0], table.low[1], first >> 16),
                                 permute_bytes(table.low[0], table.low[1], second >> 16)};
      warp.template multiply_add<unsigned_factor>(sums.minus[pair], lower, factor.b[0]);
    } else {
      RECALLD_UNROLL
      for (int half = 0; half < 2; ++half) {
        uint32_t x = first >> 2 * half & 0x33333333u, y = second >> 2 * half & 0x33333333u;
        if constexpr (bits == 3) {
          const uint32_t pairs = half == 0 ? high.even : high.odd;
          x |= spread_high(pairs, 2 * pair);
          y |= spread_high(pairs, 2 * pair + 1);
        }
        const uint32_t levels[4] = {
            permute_bytes(table.low[0], table.low[1], x), permute_bytes(table.low[0], table.low[1], y),
            permute_bytes(table.low[0], table.low[1], x >> 16), permute_bytes(table.low[0], table.low[1], y >> 16)};
        warp.template multiply_add<unsigned_factor>(sums.plus[pair], levels, factor.b[half]);
      }
    }
  }
}

}  // namespace recalld::kernels::cuda
