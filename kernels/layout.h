// Where each number of a page lives. Kernels, codecs and the page format agree through this file alone.
//
// A page holds n tokens of one layer; for each KV head it has a K side and a V side. A side stores 16-bit floats, or
// codes of 4, 3 or 2 bits with one half-precision scale per token. Tokens are padded with zero bytes to a multiple of
// kTokenGroup; padded tokens have scale 0 and are never counted as tokens.
//
// Coded values: x[t][j] ~ scale[t] * unit * levels[code[t][j]], in the codec's transformed basis, plus mean[j] on the
// K side of centred codecs. levels are int8 and ascending, so the code is the rank of the level.
//
// The layouts put what one vector instruction needs side by side:
//   K: scores of 16 tokens at once. 32-bit lane = token, its 4 bytes = 4 consecutive dims (a dot-product instruction
//      then multiplies with 4 query bytes broadcast to all lanes).
//   V: 16 output dims at once. 32-bit lane = dim, its 4 bytes = 4 consecutive tokens.
//
//   K 4 bits: for each token group g, for each 8 dims e: 64 bytes; byte t*4+b: low nibble dim 8e+b, high nibble 8e+4+b.
//   K 2 bits: for each g, for each 16 dims e: 64 bytes; byte t*4+b: bits 2i..2i+1 hold dim 16e+4i+b, i in 0..3.
//   K 3 bits: the two low bits as K 2 bits, all groups; then the high bits: for each g, for each 4 dims e: 8 bytes read
//             as one little-endian 64-bit mask; bit t*4+b is dim 4e+b.
//   V 4 bits: for each 8 tokens g (2 per token group), for each 16 dims e: 64 bytes; byte j*4+t: low nibble token 8g+t,
//             high nibble token 8g+4+t; j in 0..15 is dim 16e+j.
//   V 2 bits: for each 16 tokens g, for each 16 dims e: 64 bytes; byte j*4+t: bits 2i..2i+1 hold token 16g+4i+t.
//   V 3 bits: the two low bits as V 2 bits, all groups; then the high bits: for each 4 tokens g, for each 16 dims e:
//             8 bytes, one little-endian 64-bit mask; bit j*4+t is dim 16e+j, token 4g+t.
//   K f16:    for each token group g: [head_dim][16 tokens] halves.
//   V f16:    [token][head_dim] halves.
//
// head_dim is a multiple of 16, at most 256.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recalld::kernels {

inline constexpr int kTokenGroup = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kMaxPageTokens = 256;

constexpr int padded_tokens(int n_tokens) { return (n_tokens + kTokenGroup - 1) / kTokenGroup * kTokenGroup; }

// Bytes of one side (codes only, without scales) of one head: n_tokens padded, times head_dim, times bits / 8.
constexpr size_t side_bytes(int n_tokens, int head_dim, int bits) {
  return static_cast<size_t>(padded_tokens(n_tokens)) * static_cast<size_t>(head_dim) * static_cast<size_t>(bits) / 8;
}

// Plain accessors, one code at a time: the definition of the layouts, used by the reference kernels and by tests.
// bits is 4, 3 or 2; padded is padded_tokens(n_tokens). set_* expects zeroed memory.
int get_k_code(const uint8_t* codes, int padded, int head_dim, int bits, int token, int dim);
int get_v_code(const uint8_t* codes, int padded, int head_dim, int bits, int token, int dim);
void set_k_code(uint8_t* codes, int padded, int head_dim, int bits, int token, int dim, int code);
void set_v_code(uint8_t* codes, int padded, int head_dim, int bits, int token, int dim, int code);

// Index, in halves, of one 16-bit value.
constexpr size_t k_half_index(int head_dim, int token, int dim) {
  return (static_cast<size_t>(token / kTokenGroup) * head_dim + dim) * kTokenGroup + token % kTokenGroup;
}
constexpr size_t v_half_index(int head_dim, int token, int dim) { return static_cast<size_t>(token) * head_dim + dim; }

// The levels of a coded side, for N(0,1) coordinates. Value of a code = levels[code] * unit.
struct Codebook {
  int bits = 0;            // 4, 3 or 2
  int8_t levels[16] = {};  // ascending, 2^bits used, antisymmetric
  float unit = 0;
  float boundaries[15] = {};  // 2^bits - 1 used, ascending: midpoints of neighbouring level values
};

// The Lloyd-Max codebook of N(0,1), levels rounded to int8 with the largest at 127 (distortion within 0.2 % of the
// exact one: D = .009514, .03459, .1175 at 4, 3, 2 bits). Source: Max 1960; TurboQuant (arXiv 2504.19874) section 3.
const Codebook& lloyd_max(int bits);

}  // namespace recalld::kernels
