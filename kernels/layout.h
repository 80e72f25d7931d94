// Where each number of a page lives. Kernels, codecs and the page format agree through this file alone.
//
// A page holds n tokens of one layer; for each KV head it has a K side and a V side. A side stores 16-bit floats, or
// codes with scales of 16 or 8 bits. Tokens are padded with zero bytes to a multiple of kTokenGroup; padded tokens have
// scale 0 and are never counted as tokens.
//
// A coded side is cut along its dims into bands, each with codes of its own width (4, 3 or 2 bits; 0 for a last band
// that is not stored and counts as zeros), in order of the dims. Each stored band is laid out as if it were a side of
// its own dims, and the bands follow each other without gaps, so a side of one band is nothing but its codes.
//
// Coded values, in the codec's transformed basis:
//   x[t][j] ~ scale[t] * unit * levels[rank[t][j]] + offset[t] + mean[j]
// with unit and levels those of the band's width on the side's grid, offset on sides that have one, and mean on the K
// side of centred codecs (also over dims that are not stored). Scales are halves or bytes, [n_scales][padded tokens]:
// one row for all bands, or one for each stored band. Offsets are halves, [padded tokens]. levels are int8 and
// ascending, so the code is the rank of the level; on the trellis grid the rank follows from the code and those of the
// dims before (kernels/trellis.h).
//
// The layouts put what one vector instruction needs side by side:
//   K: scores of 16 tokens at once. 32-bit lane = token, its 4 bytes = 4 consecutive dims (a dot-product instruction
//      then multiplies with 4 query bytes broadcast to all lanes).
//   V: 16 output dims at once. 32-bit lane = dim, its 4 bytes = 4 consecutive tokens.
//
// In a band, with dims counted from its first and head_dim standing for its number of dims:
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
#include <string>

namespace recalld::kernels {

inline constexpr int kTokenGroup = 16;
inline constexpr int kMaxHeadDim = 256;
inline constexpr int kMaxPageTokens = 256;

constexpr int padded_tokens(int n_tokens) { return (n_tokens + kTokenGroup - 1) / kTokenGroup * kTokenGroup; }

// The values that codes stand for.
enum class Grid : uint8_t {
  kLloydMax,  // the best for N(0,1): lloyd_max()
  kUniform,   // equal steps around 0: uniform_grid()
  kTrellis,   // twice as many as codes, of which the dims before rule half out: trellis_grid()
};

// Consecutive dims of a side with codes of one width.
struct Band {
  int16_t bits = 0;
  int16_t n_dims = 0;  // a multiple of 16
  friend bool operator==(const Band&, const Band&) = default;
};

inline constexpr int kMaxBands = 4;

// How one side of a page is stored. Of no bands: 16-bit floats.
struct SideFormat {
  int8_t n_bands = 0;
  Grid grid = Grid::kLloydMax;
  bool scale_per_band = false;  // else one scale per token for all bands
  bool offsets = false;         // one offset per token; sides of one uniform band alone
  bool byte_scales = false;     // half_of_scale_byte(); not on the uniform grid
  Band bands[kMaxBands] = {};   // n_bands used, the rest zero

  constexpr bool halves() const { return n_bands == 0; }
  // Bands that have codes: all but a last one of 0 bits.
  constexpr int stored_bands() const { return n_bands - static_cast<int>(n_bands > 0 && bands[n_bands - 1].bits == 0); }
  constexpr int n_scales() const { return scale_per_band ? stored_bands() : static_cast<int>(n_bands > 0); }
  constexpr int scale_bytes() const { return byte_scales ? 1 : 2; }
  friend bool operator==(const SideFormat&, const SideFormat&) = default;
};

// A scale of 8 bits: 4 of exponent, 4 of fraction, so at most 1/32 off. Byte 0 is 0, byte s > 0 is the half of which s
// are the middle bits: from 17/16 / 256 for 1 up to 248 for 255. A scale that is off by e adds e^2 to a row's relative
// squared error, .0002 on average.
inline constexpr int kScaleByteShift = 6;
inline constexpr int kScaleByteBase = 7 << 10;
constexpr uint16_t half_of_scale_byte(uint8_t scale) {
  return scale == 0 ? uint16_t{0} : static_cast<uint16_t>((scale << kScaleByteShift) + kScaleByteBase);
}
// The nearest, of two equally near ones the larger; for a positive half never 0.
constexpr uint8_t scale_byte_of_half(uint16_t half) {
  if (half == 0) return 0;
  const int nearest = (half - kScaleByteBase + (1 << (kScaleByteShift - 1))) >> kScaleByteShift;
  return static_cast<uint8_t>(nearest < 1 ? 1 : nearest > 255 ? 255 : nearest);
}

// Codes of one width on all dims: 4, 3 or 2 bits with Lloyd-Max levels; 16 for halves. Where a codec does not know
// head_dim yet it gives kAllDims.
inline constexpr int kAllDims = 0;
constexpr SideFormat one_band(int bits, int head_dim = kAllDims) {
  SideFormat format;
  if (bits == 16) return format;
  format.n_bands = 1;
  format.bands[0] = {static_cast<int16_t>(bits), static_cast<int16_t>(head_dim)};
  return format;
}

// OSCAR's: one band with equal steps, a scale and an offset per token.
constexpr SideFormat affine_band(int bits, int head_dim = kAllDims) {
  SideFormat format = one_band(bits, head_dim);
  format.grid = Grid::kUniform;
  format.offsets = true;
  return format;
}

// What stops a format from being one of sides of head_dim, in words ("bits of band 1 are 5, expected 4, 3 or 2"); empty
// when nothing does. A last band with codes may have kAllDims: all that are left.
std::string format_error(const SideFormat& format, int head_dim);

// The format with kAllDims replaced by their number. Everything below and all kernels take resolved formats.
constexpr SideFormat resolve(SideFormat format, int head_dim) {
  if (format.n_bands == 0 || format.bands[format.n_bands - 1].n_dims != kAllDims) return format;
  int left = head_dim;
  for (int band = 0; band + 1 < format.n_bands; ++band) left -= format.bands[band].n_dims;
  format.bands[format.n_bands - 1].n_dims = static_cast<int16_t>(left);
  return format;
}

// Bytes of n_dims dims of one side of one head: n_tokens padded, times n_dims, times bits / 8.
constexpr size_t side_bytes(int n_tokens, int n_dims, int bits) {
  return static_cast<size_t>(padded_tokens(n_tokens)) * static_cast<size_t>(n_dims) * static_cast<size_t>(bits) / 8;
}

// Bytes of all scales of one side of one head.
constexpr size_t scales_bytes(const SideFormat& format, int n_tokens) {
  return static_cast<size_t>(padded_tokens(n_tokens)) * static_cast<size_t>(format.n_scales()) *
         static_cast<size_t>(format.scale_bytes());
}

// One scale, as a half. index: row * padded + token, the row being BandPlace::scale_row.
constexpr uint16_t get_scale(const SideFormat& format, const uint8_t* scales, size_t index) {
  if (format.byte_scales) return half_of_scale_byte(scales[index]);
  return static_cast<uint16_t>(scales[2 * index] | scales[2 * index + 1] << 8);
}
constexpr void set_scale(const SideFormat& format, uint8_t* scales, size_t index, uint16_t half) {
  if (format.byte_scales) {
    scales[index] = scale_byte_of_half(half);
    return;
  }
  scales[2 * index] = static_cast<uint8_t>(half);
  scales[2 * index + 1] = static_cast<uint8_t>(half >> 8);
}

// Where a band lies in its side.
struct BandPlace {
  int first_dim = 0;
  size_t code_offset = 0;  // bytes from the side's beginning
  int scale_row = 0;       // of the side's scales
};

// index may be n_bands: the end of the last.
constexpr BandPlace band_place(const SideFormat& format, int n_tokens, int index) {
  BandPlace place;
  for (int band = 0; band < index; ++band) {
    place.first_dim += format.bands[band].n_dims;
    place.code_offset += side_bytes(n_tokens, format.bands[band].n_dims, format.bands[band].bits);
  }
  place.scale_row = format.scale_per_band ? index : 0;
  return place;
}

// Bytes of one side of one head, without scales and offsets.
constexpr size_t side_bytes(int n_tokens, int head_dim, const SideFormat& format) {
  return format.halves() ? side_bytes(n_tokens, head_dim, 16)
                         : band_place(format, n_tokens, format.n_bands).code_offset;
}

// The band that a dim belongs to.
constexpr int band_of(const SideFormat& format, int dim) {
  int band = 0;
  for (int end = format.bands[0].n_dims; dim >= end; end += format.bands[band].n_dims) ++band;
  return band;
}

// Dims that have codes: the first of them.
constexpr int stored_dims(const SideFormat& format) { return band_place(format, 0, format.stored_bands()).first_dim; }

// Plain accessors, one code at a time: the definition of the layouts, used by the reference kernels and by tests. The
// format is a coded one, dim one that is stored, padded is padded_tokens(n_tokens). set_* expects zeroed memory.
int get_k_code(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim);
int get_v_code(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim);
void set_k_code(uint8_t* codes, int padded, const SideFormat& format, int token, int dim, int code);
void set_v_code(uint8_t* codes, int padded, const SideFormat& format, int token, int dim, int code);

// Index, in halves, of one 16-bit value.
constexpr size_t k_half_index(int head_dim, int token, int dim) {
  return (static_cast<size_t>(token / kTokenGroup) * head_dim + dim) * kTokenGroup + token % kTokenGroup;
}
constexpr size_t v_half_index(int head_dim, int token, int dim) { return static_cast<size_t>(token) * head_dim + dim; }

// Likewise the rank of a number's level: the code, but on the trellis grid.
int get_k_rank(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim);
int get_v_rank(const uint8_t* codes, int padded, const SideFormat& format, int token, int dim);

// The levels of a band. Value of a rank = levels[rank] * unit, times its token's scale.
struct Codebook {
  int bits = 0;            // of a code: 4, 3 or 2
  int8_t levels[32] = {};  // ascending, 2^bits used or on the trellis grid 2^(bits + 1), antisymmetric
  float unit = 0;
  // Ascending, midpoints of neighbouring level values: 2^bits - 1 used. On the trellis grid those of each of its four
  // subsets s, 2^(bits - 1) - 1 from 7 s on.
  float boundaries[28] = {};
};

// The Lloyd-Max codebook of N(0,1), levels rounded to int8 with the largest at 127 (distortion within 0.2 % of the
// exact one: D = .009514, .03459, .1175 at 4, 3, 2 bits). Source: Max 1960; TurboQuant (arXiv 2504.19874) section 3.
const Codebook& lloyd_max(int bits);

// Values c - (2^bits - 1) / 2 for the codes c: levels twice that, unit 1/2.
const Codebook& uniform_grid(int bits);

// Levels for trellis codes of N(0,1), found by alternating the search of paths with the means of what they take, on
// rows of 96 numbers, then rounded likewise: D = .0065, .0238, .0866 on rows of 96 at 4, 3, 2 bits.
const Codebook& trellis_grid(int bits);

const Codebook& codebook(Grid grid, int bits);

}  // namespace recalld::kernels
