#include "kernels/layout.h"

#include <stdexcept>
#include <string>

namespace recalld::kernels {
namespace {

constexpr size_t kBlockBytes = 64;

// Where one code lies: `low` holds its bits below the third at `low_shift`; for 3 bits the third is bit `high_shift` of
// byte `high`.
struct CodePlace {
  size_t low = 0;
  int low_shift = 0;
  size_t high = 0;
  int high_shift = 0;
};

// Both sides are blocks of 16 lanes of 4 bytes and differ in which of token and dim is the lane; a byte holds the codes
// of one place in each of the block's groups of 4 ("quads") along the other axis.
CodePlace place_in_block(int bits, size_t block, int quad_in_block, int lane, int byte) {
  CodePlace place;
  place.low = block * kBlockBytes + static_cast<size_t>(lane * 4 + byte);
  place.low_shift = quad_in_block * (bits == 4 ? 4 : 2);
  return place;
}

void place_high_bit(CodePlace& place, int padded, int head_dim, size_t mask, int lane, int byte) {
  const int bit = lane * 4 + byte;
  place.high = side_bytes(padded, head_dim, 2) + mask * 8 + static_cast<size_t>(bit / 8);
  place.high_shift = bit % 8;
}

CodePlace place_k(int padded, int head_dim, int bits, int token, int dim) {
  const int span = bits == 4 ? 8 : 16;
  const size_t group = static_cast<size_t>(token / kTokenGroup);
  const size_t block = group * static_cast<size_t>(head_dim / span) + static_cast<size_t>(dim / span);
  CodePlace place = place_in_block(bits, block, dim % span / 4, token % kTokenGroup, dim % 4);
  if (bits == 3) {
    const size_t mask = group * static_cast<size_t>(head_dim / 4) + static_cast<size_t>(dim / 4);
    place_high_bit(place, padded, head_dim, mask, token % kTokenGroup, dim % 4);
  }
  return place;
}

CodePlace place_v(int padded, int head_dim, int bits, int token, int dim) {
  const int span = bits == 4 ? 8 : 16;
  const size_t chunks = static_cast<size_t>(head_dim / 16);
  const size_t chunk = static_cast<size_t>(dim / 16);
  const size_t block = static_cast<size_t>(token / span) * chunks + chunk;
  CodePlace place = place_in_block(bits, block, token % span / 4, dim % 16, token % 4);
  if (bits == 3)
    place_high_bit(place, padded, head_dim, static_cast<size_t>(token / 4) * chunks + chunk, dim % 16, token % 4);
  return place;
}

int get_code(const uint8_t* codes, const CodePlace& place, int bits) {
  if (bits == 4) return codes[place.low] >> place.low_shift & 15;
  int code = codes[place.low] >> place.low_shift & 3;
  if (bits == 3) code |= (codes[place.high] >> place.high_shift & 1) << 2;
  return code;
}

void set_code(uint8_t* codes, const CodePlace& place, int bits, int code) {
  const int low = bits == 4 ? code : code & 3;
  codes[place.low] = static_cast<uint8_t>(codes[place.low] | low << place.low_shift);
  if (bits == 3) codes[place.high] = static_cast<uint8_t>(codes[place.high] | (code >> 2 & 1) << place.high_shift);
}

// upper: the non-negative half of the levels, ascending. The unit is the one of least distortion for N(0,1) among those
// that put the exact levels' nearest integers at these.
template <int n>
Codebook antisymmetric(int bits, float unit, const int (&upper)[n]) {
  Codebook book;
  book.bits = bits;
  book.unit = unit;
  for (int i = 0; i < n; ++i) {
    book.levels[n + i] = static_cast<int8_t>(upper[i]);
    book.levels[n - 1 - i] = static_cast<int8_t>(-upper[i]);
  }
  for (int i = 0; i + 1 < 2 * n; ++i)
    book.boundaries[i] = 0.5F * static_cast<float>(book.levels[i] + book.levels[i + 1]) * unit;
  return book;
}

}  // namespace

int get_k_code(const uint8_t* codes, int padded, int head_dim, int bits, int token, int dim) {
  return get_code(codes, place_k(padded, head_dim, bits, token, dim), bits);
}

int get_v_code(const uint8_t* codes, int padded, int head_dim, int bits, int token, int dim) {
  return get_code(codes, place_v(padded, head_dim, bits, token, dim), bits);
}

void set_k_code(uint8_t* codes, int padded, int head_dim, int bits, int token, int dim, int code) {
  set_code(codes, place_k(padded, head_dim, bits, token, dim), bits, code);
}

void set_v_code(uint8_t* codes, int padded, int head_dim, int bits, int token, int dim, int code) {
  set_code(codes, place_v(padded, head_dim, bits, token, dim), bits, code);
}

const Codebook& lloyd_max(int bits) {
  static const Codebook two = antisymmetric(2, 0.011894241F, {38, 127});
  static const Codebook three = antisymmetric(3, 0.016990204F, {14, 44, 79, 127});
  static const Codebook four = antisymmetric(4, 0.021419629F, {6, 18, 31, 44, 59, 76, 97, 127});
  switch (bits) {
    case 2:
      return two;
    case 3:
      return three;
    case 4:
      return four;
    default:
      throw std::invalid_argument("lloyd_max: no codebook of " + std::to_string(bits) + " bits");
  }
}

}  // namespace recalld::kernels
