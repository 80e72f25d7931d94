// Rows of f32 into the layouts of kernels/layout.h: as halves, or as transformed, nearest-level codes with one scale.
//
// A row x becomes y = T x (kernels/transform.h), minus the page's mean on the K side of centred codecs. With n = |y|
// and z = y sqrt(head_dim) / n, each code is the level nearest to its coordinate of z, and the scale is chosen so that
// scale * unit * levels[code] has the property named by ScaleRule (sources there).
//
// A row's codes and scale depend on that row, the mean and the spec alone, not on its neighbours: coding one token or
// 256 gives equal bytes. All implementations sum over dims in ascending order in f32, a multiplication then an
// addition, so codes and scales are bit-equal on every target.
//
// Input is made safe first: NaN and infinity become 0, anything beyond the largest finite half is clamped to it. A
// vector shorter than 1e-15 gets scale 0, that is, decodes to zeros (plus the mean). Scales are clamped to the largest
// finite half.
//
// n_rows is 1..kMaxPageTokens, head_dim a multiple of 16 up to kMaxHeadDim. Rows are `stride` floats apart. Outputs are
// written whole, padding tokens included (as zeros); they need not be cleared first and must be 4-byte aligned.
// Threads: pure functions. No allocation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/layout.h"
#include "kernels/transform.h"

namespace recalld::kernels {

// With c = unit * levels[codes] and x^ = scale * c. All three replace the plain n / sqrt(head_dim), which shrinks dot
// products by the distortion.
enum class ScaleRule : uint8_t {
  kMatched,       // |x^| = |y|: scale = |y| / |c|
  kUnbiased,      // <y, x^> = |y|^2, so dot products have no bias: |y|^2 / <y, c>. DRIVE (NeurIPS 2021), EDEN, RaBitQ
  kLeastSquares,  // smallest |y - x^|: <y, c> / |c|^2
};

struct EncodeSpec {
  int bits = 4;  // 4, 3 or 2
  ScaleRule rule = ScaleRule::kUnbiased;
  const SignFlips* flips = nullptr;
  int head_dim = 0;
};

// mean: [head_dim] in the transformed basis, or null. codes: side_bytes(n_rows, head_dim, bits) bytes.
// scales: [padded_tokens(n_rows)] halves.
void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 uint8_t* codes, uint16_t* scales);
void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                   uint16_t* scales);

// Mean of the rows, transformed and rounded to halves: mean [head_dim] halves, mean_value the same as floats.
void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value);

// Halves, side_bytes(n_rows, head_dim, 16) bytes each; rounded to nearest even.
void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k);
void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v);

namespace reference {
void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 uint8_t* codes, uint16_t* scales);
void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                   uint16_t* scales);
void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value);
void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k);
void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v);
}  // namespace reference

}  // namespace recalld::kernels
