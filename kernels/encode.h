// Rows of f32 into the layouts of kernels/layout.h: as halves, or as codes with scales and perhaps offsets.
//
// A row x becomes y = T x (kernels/transform.h) or, without sign flips, y = x: the caller has transformed it. The
// page's mean is subtracted on the K side of centred codecs. Bands that are not stored are dropped.
//
// Lloyd-Max grid. For each vector that has a scale of its own (the stored dims, or with scale_per_band one band's),
// with D dims, n = |y| over them and z = y sqrt(D) / n: each code is the level nearest to its coordinate of z, and the
// scale is chosen so that scale * unit * levels[code] has the property named by ScaleRule (sources there). A vector
// shorter than 1e-15 gets scale 0, that is, decodes to zeros (plus the mean). Scales are clamped to the largest finite
// half and, for formats with scales of 8 bits, rounded on to scale_byte_of_half().
//
// Trellis grid: z likewise, over the stored dims; the codes are those of the path that kernels/trellis.h states, the
// scale follows from their levels in the same way.
//
// Uniform grid, as OSCAR (arXiv 2605.17757) codes a row, with m = 2^bits - 1: y is clamped to [-t, t], t the number of
// rank clip_rank() among the ascending |y|; with the range [low, high] of
// the clamped y, s = max(high - low, 1e-8) / m, code = trunc((y - low) / s + 1/2), scale = s, offset = low + s m / 2.
// Sides without offsets use low = -t, high = t instead. Codes follow from s and low in f32; scale and offset
// are then rounded to halves, which moves what comes back by at most 2^-11 of each.
//
// A row's codes, scales and offset depend on that row, the mean and the spec alone, not on its neighbours: coding one
// token or 256 gives equal bytes. All implementations sum over the dims of a band in ascending order in f32, a
// multiplication then an addition, then over the bands, so codes and scales are bit-equal on every target.
//
// Input is made safe first: NaN and infinity become 0, anything beyond the largest finite half is clamped to it.
//
// n_rows is 1..kMaxPageTokens, head_dim a multiple of 16 up to kMaxHeadDim. Rows are `stride` floats apart. Outputs are
// written whole, padding tokens included (as zeros); they need not be cleared first and must be 4-byte aligned.
// Threads: pure functions. No allocation.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/layout.h"
#include "kernels/transform.h"

namespace recalld::kernels {

// With c = unit * levels[codes] and x^ = scale * c. All three replace the plain n / sqrt(D), which shrinks dot products
// by the distortion.
enum class ScaleRule : uint8_t {
  kMatched,       // |x^| = |y|: scale = |y| / |c|
  kUnbiased,      // <y, x^> = |y|^2, so dot products have no bias: |y|^2 / <y, c>. DRIVE (NeurIPS 2021), EDEN, RaBitQ
  kLeastSquares,  // smallest |y - x^|: <y, c> / |c|^2
};

struct EncodeSpec {
  SideFormat format;                      // coded and resolved
  ScaleRule rule = ScaleRule::kUnbiased;  // not of the uniform grid
  const SignFlips* flips = nullptr;       // null: rows are in the coded basis already
  int head_dim = 0;
  double clip = 1;  // of the uniform grid, 0 to 1; 1: none
};

// floor(clip * dims), at most the last rank.
inline int clip_rank(double clip, int dims) { return std::min(static_cast<int>(clip * dims), dims - 1); }

// What encoding a side writes.
struct CodedSide {
  uint8_t* codes = nullptr;     // side_bytes(n_rows, head_dim, format) bytes
  uint8_t* scales = nullptr;    // [n_scales][padded_tokens(n_rows)] halves or bytes
  uint16_t* offsets = nullptr;  // [padded_tokens(n_rows)] halves; null for formats without
};

// mean: [head_dim] in the transformed basis, or null.
void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 const CodedSide& out);
void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out);

// Mean of the rows, transformed and rounded to halves: mean [head_dim] halves, mean_value the same as floats.
void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value);

// Halves, side_bytes(n_rows, head_dim, 16) bytes each; rounded to nearest even.
void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k);
void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v);

namespace reference {
void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 const CodedSide& out);
void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out);
void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value);
void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k);
void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v);
}  // namespace reference

}  // namespace recalld::kernels
