// Codes of kernels/layout.h to the fragments of the integer matrix product mma.m16n8k32: codes are looked up four at a
// time by the byte permutation, whose selectors are nibbles, as the codes of a 32-bit word are.
//
// Both sides of a page look alike from here. A lane loads 16 bytes: the words of four rows (tokens of K, dims of V),
// each with codes of 8 (4 bits) or 16 (3 and 2 bits) places along the other axis, which the product sums over. Rows 0
// and 1 are the lane's two rows of one product, rows 2 and 3 those of another. The places are taken in the order in
// which the nibbles of a word come, so the other factor is put in that order too (interleave). Lane l of the warp is
// row group l / 4 and stands for part l % 4 of the places.
//
// A table of 16 levels is two of 8, and a selector with its third bit set gives the sign of a byte in place of it. The
// levels of the upper half are positive and the table of the lower half holds magnitudes, so each lookup gives zeros
// for the codes of the other: two products, subtracted. No level needs a selection by its sign. So it is with codes of
// 4 bits and with trellis codes of 3.
//
// Trellis codes of 2 bits have 8 levels and one table. Those of 4 bits have 32: a table of 8 places for each subset,
// whose levels have the same sign at the same place. Three lookups of four give that sign, and the fourth is what they
// do not agree with (level_of_subsets).
#pragma once

#include "kernels/cuda/lane/portable.cuh"
#include "kernels/layout.h"

namespace recalld::kernels::cuda {

// How a band is coded.
template <int bits, bool trellis>
struct Coding {
  static constexpr int kBits = bits;
  static constexpr bool kTrellis = trellis;
  static constexpr int kPlaces = bits == 4 ? 8 : 16;          // of a word
  static constexpr int kProducts = bits == 4 ? 1 : 2;         // of a block
  static constexpr bool kSigned = bits == (trellis ? 3 : 4);  // two tables of magnitudes
  static constexpr bool kFourTables = bits == 4 && trellis;
  static constexpr bool kLowerWords = trellis && bits != 3;  // lower bits of subsets in words, not masks
};

// run(Coding) of a band; trellis: that it may be on the trellis grid.
template <bool trellis, class Run>
RECALLD_LANE void with_coding(Grid grid, int bits, const Run& run) {
  if constexpr (trellis) {
    if (grid == Grid::kTrellis) {
      if (bits == 4)
        run(Coding<4, true>());
      else if (bits == 3)
        run(Coding<3, true>());
      else
        run(Coding<2, true>());
      return;
    }
  }
  if (bits == 4)
    run(Coding<4, false>());
  else if (bits == 3)
    run(Coding<3, false>());
  else
    run(Coding<2, false>());
}

struct LevelTable {
  uint32_t level[8] = {};   // by rank
  uint32_t lookup[8] = {};  // tables of 8, as selectors take them
  float unit = 0;
};

struct LevelTables {
  LevelTable of[3][3];  // [grid][bits - 2]
  RECALLD_LANE const LevelTable& at(Grid grid, int bits) const { return of[static_cast<int>(grid)][bits - 2]; }
};

// The place among the lookup tables of the level of a rank.
inline int lookup_of(Grid grid, int bits, int rank) {
  if (grid != Grid::kTrellis || bits == 3) return rank;
  const int place = rank / 4, upper = rank / 2 % 2, lower = rank % 2;
  return bits == 4 ? (2 * upper + lower) * 8 + place : place | upper << 1 | lower << 2;
}

inline LevelTables level_tables() {
  LevelTables tables;
  for (const Grid grid : {Grid::kLloydMax, Grid::kUniform, Grid::kTrellis}) {
    for (int bits = 2; bits <= 4; ++bits) {
      const Codebook& book = codebook(grid, bits);
      LevelTable& table = tables.of[static_cast<int>(grid)][bits - 2];
      table.unit = book.unit;
      const bool trellis = grid == Grid::kTrellis, magnitudes = bits == (trellis ? 3 : 4);
      for (int rank = 0; rank < 1 << (bits + (trellis ? 1 : 0)); ++rank) {
        const auto put = [](uint32_t* words, int at, int level) {
          words[at / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(level)) << at % 4 * 8;
        };
        put(table.level, rank, book.levels[rank]);
        put(table.lookup, lookup_of(grid, bits, rank), magnitudes && rank < 8 ? -book.levels[rank] : book.levels[rank]);
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

// Registers of the other factor for one block of codes, from the words of four places each.
template <class Code>
struct Factor {
  uint32_t b[Code::kProducts][2];
};

template <class Code>
RECALLD_LANE Factor<Code> factor_of(const uint32_t* words) {
  Factor<Code> factor;
  if constexpr (Code::kProducts == 1) {
    interleave(words[0], words[1], factor.b[0]);
  } else {
    interleave(words[0], words[2], factor.b[0]);
    interleave(words[1], words[3], factor.b[1]);
  }
  return factor;
}

// Sums of a lane: [pair of rows][register of the product's result]. The second are subtracted.
template <class Code>
struct Sums {
  int32_t plus[2][4] = {};
  int32_t minus[Code::kSigned ? 2 : 1][4] = {};

  // row of the lane (0..3), column (0..1 of the lane's two).
  RECALLD_LANE int32_t at(int row, int column) const {
    const int register_index = row % 2 * 2 + column;
    if constexpr (Code::kSigned) return plus[row / 2][register_index] - minus[row / 2][register_index];
    return plus[row / 2][register_index];
  }
};

// The masks of the four quads of a 3-bit block, as loaded: bit 4 r + b of quad i's is row r, place 4 i + b.
struct Masks {
  uint32_t even = 0, odd = 0;  // quads 0 and 2, 16 bits each; quads 1 and 3
};

RECALLD_LANE Masks pack_masks(const uint32_t (&mask)[4]) { return {mask[0] | mask[2] << 16, mask[1] | mask[3] << 16}; }

// The same for one word after the other: a byte per word, its nibbles' bits reversed, in the order of the words 3, 1,
// 2, 0.
struct HighBits {
  uint32_t even = 0, odd = 0;
};

RECALLD_LANE uint32_t bytes_of_masks(uint32_t pair) {
  const uint32_t reversed = reverse_bits(pair);
  const uint32_t a = reversed >> 16, b = reversed & 0xffff;
  return (a & 0x0f0f) | (b & 0x0f0f) << 4 | (a & 0xf0f0) << 12 | (b & 0xf0f0) << 16;
}

RECALLD_LANE HighBits high_bits(const Masks& masks) { return {bytes_of_masks(masks.even), bytes_of_masks(masks.odd)}; }

// Bit `bit` of each nibble from the eight bits of one word: one multiplication copies them to where each is needed.
template <int bit>
RECALLD_LANE uint32_t spread_high(uint32_t pairs, int row) {
  constexpr int kByte[4] = {3, 1, 2, 0};
  const uint32_t byte = pairs >> 8 * kByte[row] & 255;
  return (byte * 0x08040201u) >> (3 - bit) & (0x11111111u << bit);
}

// What a lane has of a block of codes. On the trellis grid upper bits of subsets stand where path bits were
// (kernels/cuda/lane/trellis.cuh), and there are the lower ones.
template <class Code>
struct Block {
  Words4 words;
  uint32_t lower_words[Code::kLowerWords ? 4 : 1];
  HighBits high, lower_high;  // of 3 bits
};

// Nibbles that select the levels of a row's word for one product.
template <class Code>
RECALLD_LANE uint32_t selectors(const Block<Code>& block, int row, int product) {
  const uint32_t word = block.words.word[row];
  const uint32_t codes = word >> 2 * product & 0x33333333u;
  if constexpr (Code::kBits == 4) {
    return word;
  } else if constexpr (Code::kBits == 3) {
    const uint32_t high = product == 0 ? block.high.even : block.high.odd;
    const uint32_t lower = product == 0 ? block.lower_high.even : block.lower_high.odd;
    if constexpr (!Code::kTrellis) return codes | spread_high<2>(high, row);
    return ((product == 0 ? word << 2 : word) & 0xccccccccu) | spread_high<1>(high, row) | spread_high<0>(lower, row);
  } else if constexpr (Code::kTrellis) {
    const uint32_t lower = block.lower_words[row];
    return codes | ((product == 0 ? lower << 1 : lower >> 1) & 0x44444444u);
  } else {
    return codes;
  }
}

// Levels of four trellis codes of 4 bits, given by 16 bits from `shift` of each table's selectors: the places, with the
// third bit set where the subset is another.
RECALLD_LANE uint32_t level_of_subsets(const LevelTable& table, const uint32_t (&selector)[4], int shift) {
  const uint32_t a = permute_bytes(table.lookup[0], table.lookup[1], selector[0] >> shift);
  const uint32_t b = permute_bytes(table.lookup[2], table.lookup[3], selector[1] >> shift);
  const uint32_t c = permute_bytes(table.lookup[4], table.lookup[5], selector[2] >> shift);
  const uint32_t d = permute_bytes(table.lookup[6], table.lookup[7], selector[3] >> shift);
  // A bit that differs from the three others, or that of all.
  return (((a | b) & ~c) | (a & b & c)) ^ c ^ d;
}

// Levels of the eight codes of two rows' words, as the product takes them.
template <class Code>
RECALLD_LANE void levels_of_subsets(const LevelTable& table, const Block<Code>& block, int first_row,
                                    uint32_t (&levels)[4]) {
  RECALLD_UNROLL
  for (int i = 0; i < 2; ++i) {
    const uint32_t x = block.words.word[first_row + i], lower = block.lower_words[first_row + i];
    constexpr uint32_t kThird = 0x88888888u;
    const uint32_t places = x & ~kThird;
    const uint32_t selector[4] = {places | ((x | lower) & kThird), places | ((x | ~lower) & kThird),
                                  places | ((~x | lower) & kThird), places | ((~x | ~lower) & kThird)};
    levels[i] = level_of_subsets(table, selector, 0);
    levels[2 + i] = level_of_subsets(table, selector, 16);
  }
}

// Levels of one table of 8.
RECALLD_LANE void look_up(uint32_t low, uint32_t high, uint32_t x, uint32_t y, uint32_t (&levels)[4]) {
  levels[0] = permute_bytes(low, high, x);
  levels[1] = permute_bytes(low, high, y);
  levels[2] = permute_bytes(low, high, x >> 16);
  levels[3] = permute_bytes(low, high, y >> 16);
}

// sums += levels of a block times the factor, signed or unsigned bytes.
template <bool unsigned_factor, class Code, class Warp>
RECALLD_LANE void multiply_block(Warp& warp, const Block<Code>& block, const LevelTable& table,
                                 const Factor<Code>& factor, Sums<Code>& sums) {
  RECALLD_UNROLL
  for (int pair = 0; pair < 2; ++pair) {
    RECALLD_UNROLL
    for (int product = 0; product < Code::kProducts; ++product) {
      uint32_t levels[4];
      if constexpr (Code::kFourTables) {
        levels_of_subsets(table, block, 2 * pair, levels);
        warp.template multiply_add<unsigned_factor>(sums.plus[pair], levels, factor.b[product]);
      } else {
        const uint32_t x = selectors(block, 2 * pair, product), y = selectors(block, 2 * pair + 1, product);
        if constexpr (Code::kSigned) {
          look_up(table.lookup[2], table.lookup[3], x ^ 0x88888888u, y ^ 0x88888888u, levels);
          warp.template multiply_add<unsigned_factor>(sums.plus[pair], levels, factor.b[product]);
          look_up(table.lookup[0], table.lookup[1], x, y, levels);
          warp.template multiply_add<unsigned_factor>(sums.minus[pair], levels, factor.b[product]);
        } else {
          look_up(table.lookup[0], table.lookup[1], x, y, levels);
          warp.template multiply_add<unsigned_factor>(sums.plus[pair], levels, factor.b[product]);
        }
      }
    }
  }
}

}  // namespace recalld::kernels::cuda
