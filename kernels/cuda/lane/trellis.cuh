// Subsets of trellis codes (kernels/trellis.h) for many numbers at once: the subset of a dim follows from its path bit
// and those of the dims 1, 2 and 4 before, which are bits of words.
//
// As in unpack.cuh a lane holds four rows. For keys a row is a token, its places are dims, and the dims before are
// places before: words are shifted, and what comes in are the words of the block before. For values a row is a dim: the
// dims before are other rows, those before the lane's first the rows of the lane before.
//
// Where a band begins the dims before are codes of another band, perhaps of another width, or do not exist. Their path
// bits are put into the shape of the band's own codes (store_paths_before), so that lanes load them in place of a
// block.
#pragma once

#include "kernels/cuda/lane/portable.cuh"
#include "kernels/layout.h"

namespace recalld::kernels::cuda {

// Four bits to bit 0 of each byte, and back.
RECALLD_LANE uint32_t bytes_of_nibble(uint32_t nibble) { return nibble * 0x00204081u & 0x01010101u; }
RECALLD_LANE uint32_t nibble_of_bytes(uint32_t bytes) { return bytes * 0x01020408u >> 24 & 15; }

// Path bits of places 4 quad .. 4 quad + 3 of a band's row, at bit 0 of each byte: of dims of token `row` for keys, of
// tokens of dim `row` for values.
template <bool key>
RECALLD_LANE uint32_t band_paths(const uint8_t* codes, int padded, int n_dims, int bits, int row, int quad) {
  if (bits == 3) {
    const int mask = key ? row / 16 * (n_dims / 4) + quad : quad * (n_dims / 16) + row / 16;
    const uint32_t two_rows = codes[padded * n_dims / 4 + mask * 8 + row % 16 / 2];
    return bytes_of_nibble(two_rows >> row % 2 * 4 & 15);
  }
  const int quads = bits == 4 ? 2 : 4;
  const int block = key ? row / 16 * (n_dims / 4 / quads) + quad / quads : quad / quads * (n_dims / 16) + row / 16;
  return load<uint32_t>(codes + block * 64 + row % 16 * 4) >> (quad % quads * bits + bits - 1) & 0x01010101u;
}

// Likewise of a side, codes being the side's; 0 before the first dim. Keys: of dims dim .. dim + 3, dim a multiple
// of 4. Values: of tokens token .. token + 3, token a multiple of 4.
template <bool key>
RECALLD_LANE uint32_t side_paths(const SideFormat& format, const uint8_t* codes, int padded, int token, int dim) {
  if (dim < 0) return 0;
  int band = 0;
  for (; dim >= format.bands[band].n_dims; ++band) {
    codes += static_cast<size_t>(padded) * format.bands[band].n_dims * format.bands[band].bits / 8;
    dim -= format.bands[band].n_dims;
  }
  return band_paths<key>(codes, padded, format.bands[band].n_dims, format.bands[band].bits, key ? token : dim,
                         (key ? dim : token) / 4);
}

// Subsets of four numbers.
struct FourSubsets {
  uint32_t lower = 0, upper = 0;  // bits, at bit 0 of each byte
  RECALLD_LANE int at(int place) const {
    return static_cast<int>((upper >> 8 * place & 1) * 2 + (lower >> 8 * place & 1));
  }
};

// Of the four numbers of side_paths.
template <bool key>
RECALLD_LANE FourSubsets side_subsets(const SideFormat& format, const uint8_t* codes, int padded, int token, int dim) {
  const auto paths = [&](int at) { return side_paths<key>(format, codes, padded, token, at); };
  const uint32_t own = paths(dim), fourth = paths(dim - 4);
  if constexpr (key) return {own << 16 | fourth >> 16, own ^ (own << 8 | fourth >> 24) ^ fourth};
  return {paths(dim - 2), own ^ paths(dim - 1) ^ fourth};
}

// Words of four rows of 4 or 2 bits: path bits become the upper bits of subsets; the lower ones are put at the same
// places of `lower`, among bits that mean nothing. before: of the block before; its last four places count.
template <int bits>
RECALLD_LANE void key_subsets(const Words4& before, Words4& words, uint32_t (&lower)[4]) {
  constexpr uint32_t kFirst = 0x01010101u * ((1u << bits) - 1), kPaths = bits == 4 ? 0x88888888u : 0xaaaaaaaau;
  RECALLD_UNROLL
  for (int row = 0; row < 4; ++row) {
    const uint32_t own = words.word[row];
    const uint32_t fourth = (own << bits & ~kFirst) | (before.word[row] >> (8 - bits) & kFirst);
    words.word[row] = own ^ (((own << 8 | fourth >> 24) ^ fourth) & kPaths);
    lower[row] = own << 16 | fourth >> 16;
  }
}

// before: of the four dims before.
template <int bits>
RECALLD_LANE void value_subsets(const Words4& before, Words4& words, uint32_t (&lower)[4]) {
  constexpr uint32_t kPaths = bits == 4 ? 0x88888888u : 0xaaaaaaaau;
  const Words4 own = words;
  RECALLD_UNROLL
  for (int row = 0; row < 4; ++row) {
    const uint32_t first = row == 0 ? before.word[3] : own.word[row == 0 ? 0 : row - 1];
    words.word[row] = own.word[row] ^ ((first ^ before.word[row]) & kPaths);
    lower[row] = row < 2 ? before.word[row + 2] : own.word[row < 2 ? 0 : row - 2];
  }
}

// Likewise pairs of masks of 3 bits (Masks). before: of the quads before, in the same order.
RECALLD_LANE void key_mask_subsets(uint32_t before, uint32_t& masks, uint32_t& lower) {
  const uint32_t own = masks;
  lower = (own << 2 & 0xccccccccu) | (before >> 2 & 0x33333333u);
  masks = own ^ ((own << 1 & 0xeeeeeeeeu) | (before >> 3 & 0x11111111u)) ^ before;
}

// before: of the same quads of the four dims before.
RECALLD_LANE void value_mask_subsets(uint32_t before, uint32_t& masks, uint32_t& lower) {
  const uint32_t own = masks;
  lower = (own << 8 & 0xff00ff00u) | (before >> 8 & 0x00ff00ffu);
  masks = own ^ ((own << 4 & 0xfff0fff0u) | (before >> 12 & 0x000f000fu)) ^ before;
}

// Bytes that store_paths_before() writes at most.
template <bool key>
inline constexpr int kPathsBefore = key ? 256 : 128;

// The path bits of the four dims before band `band`, as the band's own codes would hold them in the block before its
// first. 3 bits: a mask of 16 bits for each four tokens. Else keys: a word for each token; values: four words, of the
// four dims, for as many tokens as a word has places. codes: those of the band before, in a tile of up to 64 tokens.
template <bool key, class Warp>
RECALLD_LANE void store_paths_before(Warp& warp, const SideFormat& format, int band, const uint8_t* codes, int padded,
                                     uint8_t* to) {
  const int bits = format.bands[band].bits;
  const int quad = warp.lane() % 16;                           // of tokens; half the warp does as the other half
  const int quads = key || bits == 3 ? 1 : bits == 4 ? 2 : 4;  // of tokens in a word
  const int shift = key ? 7 : quad % quads * bits + bits - 1;
  const bool exist = band > 0 && 4 * quad < padded;
  const Band& last = format.bands[exist ? band - 1 : 0];
  uint32_t mask = 0;
  // Rolled: addresses of four rows would be kept through all tiles.
  RECALLD_NO_UNROLL
  for (int i = 0; i < 4; ++i) {
    uint32_t paths = 0;
    if (exist)
      paths = key ? band_paths<true>(codes, padded, last.n_dims, last.bits, 4 * quad + i, last.n_dims / 4 - 1)
                  : band_paths<false>(codes, padded, last.n_dims, last.bits, last.n_dims - 4 + i, quad);
    mask |= nibble_of_bytes(paths) << 4 * i;
    uint32_t word = paths << shift;
    if (quads > 1) word |= warp.shuffle_xor(word, 1);
    if (quads > 2) word |= warp.shuffle_xor(word, 2);
    if (bits != 3) store(to + 16 * (quad / quads) + 4 * i, word);
  }
  if (bits == 3) store(to + 2 * quad, static_cast<uint16_t>(mask));
}

}  // namespace recalld::kernels::cuda
