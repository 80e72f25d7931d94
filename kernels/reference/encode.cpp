#include "kernels/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.h"
#include "kernels/trellis.h"

namespace recalld::kernels::reference {
namespace {

constexpr float kSmallestSquare = 1e-30F;

float safe(float value) {
  if (!std::isfinite(value)) return 0;
  return std::clamp(value, -kLargestHalf, kLargestHalf);
}

struct CodedRow {
  uint8_t codes[kMaxHeadDim];
  uint16_t scales[kMaxBands];
  uint16_t offset;
};

// The nearest level by magnitude: antisymmetric levels need the positive boundaries alone.
int nearest_code(const Codebook& book, float z) {
  const int half = 1 << (book.bits - 1);
  int magnitude = 0;
  for (int i = half; i < 2 * half - 1; ++i) magnitude += std::fabs(z) >= book.boundaries[i];
  return z < 0 ? half - 1 - magnitude : half + magnitude;
}

// The codes of bands [first_band, end_band), which share the scale that is returned.
float code_bands(const EncodeSpec& spec, int first_band, int end_band, const float* y, uint8_t* codes) {
  const int begin = band_place(spec.format, 0, first_band).first_dim;
  const int end = band_place(spec.format, 0, end_band).first_dim;
  float square = 0;
  for (int i = begin; i < end; ++i) square += y[i] * y[i];
  const bool zero = !(square >= kSmallestSquare);
  const float to_unit = zero ? 0.0F : std::sqrt(static_cast<float>(end - begin) / square);

  const bool trellis = spec.format.grid == Grid::kTrellis;
  float z[kMaxHeadDim];
  uint8_t path[kMaxHeadDim];
  for (int i = begin; i < end; ++i) z[i] = y[i] * to_unit;
  if (trellis) search_trellis(spec.format, end, z, path);

  // Levels count in units of the first band.
  const float unit = codebook(spec.format.grid, spec.format.bands[first_band].bits).unit;
  float dot = 0, level_square = 0;
  int state = 0;
  for (int band = first_band, i = begin; band < end_band; ++band) {
    const Codebook& book = codebook(spec.format.grid, spec.format.bands[band].bits);
    float band_dot = 0, band_square = 0;
    for (const int band_end = i + spec.format.bands[band].n_dims; i < band_end; ++i) {
      const int code =
          trellis ? trellis_code(nearest_trellis_place(book, trellis_subset(state, path[i]), z[i]), path[i], book.bits)
                  : nearest_code(book, z[i]);
      const auto level = static_cast<float>(book.levels[trellis ? trellis_rank(code, book.bits, state) : code]);
      if (trellis) state = next_trellis_state(state, path[i]);
      band_dot += y[i] * level;
      band_square += level * level;
      codes[i] = static_cast<uint8_t>(code);
    }
    const float ratio = book.unit / unit;
    dot += band_dot * ratio;
    level_square += band_square * (ratio * ratio);
  }
  if (zero) return 0;
  switch (spec.rule) {
    case ScaleRule::kMatched:
      return std::sqrt(square / level_square) / unit;
    case ScaleRule::kUnbiased:
      return square / (dot * unit);
    case ScaleRule::kLeastSquares:
      return dot / (level_square * unit);
  }
  return 0;
}

void code_uniformly(const EncodeSpec& spec, const float* y, CodedRow& row) {
  float sizes[kMaxHeadDim];
  for (int i = 0; i < spec.head_dim; ++i) sizes[i] = std::fabs(y[i]);
  std::sort(sizes, sizes + spec.head_dim);
  const float bound = sizes[clip_rank(spec.clip, spec.head_dim)];
  float low = spec.format.offsets ? bound : -bound, high = -low;
  for (int i = 0; i < spec.head_dim && spec.format.offsets; ++i) {
    const float x = std::clamp(y[i], -bound, bound);
    low = std::min(low, x);
    high = std::max(high, x);
  }
  const auto top = static_cast<float>((1 << spec.format.bands[0].bits) - 1);
  const float scale = std::max(high - low, 1e-8F) / top;
  for (int i = 0; i < spec.head_dim; ++i) {
    const float steps = (std::clamp(y[i], -bound, bound) - low) / scale;
    const float shifted = steps + 0.5F;
    row.codes[i] = static_cast<uint8_t>(shifted);
  }
  row.scales[0] = float_to_half(std::min(scale, kLargestHalf));
  row.offset = float_to_half(safe(low + scale * (0.5F * top)));
}

CodedRow encode_row(const EncodeSpec& spec, const float* x, const float* mean) {
  float y[kMaxHeadDim];
  for (int i = 0; i < spec.head_dim; ++i) y[i] = safe(x[i]);
  if (spec.flips != nullptr)
    reference::hadamard(*spec.flips, spec.head_dim, 1, y, static_cast<size_t>(spec.head_dim), y);
  for (int i = 0; i < spec.head_dim && mean != nullptr; ++i) y[i] -= mean[i];

  CodedRow row{};
  const SideFormat& format = spec.format;
  if (format.grid == Grid::kUniform) {
    code_uniformly(spec, y, row);
    return row;
  }
  const int step = format.scale_per_band ? 1 : format.stored_bands();
  for (int band = 0; band < format.stored_bands(); band += step)
    row.scales[band / step] = float_to_half(std::min(code_bands(spec, band, band + step, y, row.codes), kLargestHalf));
  return row;
}

using SetCode = void (*)(uint8_t*, int, const SideFormat&, int, int, int);

void encode(SetCode set_code, const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
            const CodedSide& out) {
  const int padded = padded_tokens(n_rows), n_scales = spec.format.n_scales();
  std::memset(out.codes, 0, side_bytes(n_rows, spec.head_dim, spec.format));
  std::memset(out.scales, 0, scales_bytes(spec.format, n_rows));
  if (out.offsets != nullptr) std::fill_n(out.offsets, padded, static_cast<uint16_t>(0));
  for (int token = 0; token < n_rows; ++token) {
    const CodedRow row = encode_row(spec, rows + static_cast<size_t>(token) * stride, mean);
    for (int i = 0; i < n_scales; ++i)
      set_scale(spec.format, out.scales,
                static_cast<size_t>(i) * static_cast<size_t>(padded) + static_cast<size_t>(token), row.scales[i]);
    if (out.offsets != nullptr) out.offsets[token] = row.offset;
    for (int dim = 0; dim < stored_dims(spec.format); ++dim)
      set_code(out.codes, padded, spec.format, token, dim, row.codes[dim]);
  }
}

}  // namespace

void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 const CodedSide& out) {
  encode(set_k_code, spec, n_rows, rows, stride, mean, out);
}

void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const CodedSide& out) {
  encode(set_v_code, spec, n_rows, rows, stride, nullptr, out);
}

void transformed_mean(const SignFlips& flips, int head_dim, int n_rows, const float* rows, size_t stride,
                      uint16_t* mean, float* mean_value) {
  float sum[kMaxHeadDim] = {};
  for (int token = 0; token < n_rows; ++token)
    for (int i = 0; i < head_dim; ++i) sum[i] += safe(rows[static_cast<size_t>(token) * stride + i]);
  for (int i = 0; i < head_dim; ++i) sum[i] *= 1.0F / static_cast<float>(n_rows);
  reference::hadamard(flips, head_dim, 1, sum, static_cast<size_t>(head_dim), sum);
  for (int i = 0; i < head_dim; ++i) {
    mean[i] = float_to_half(safe(sum[i]));
    mean_value[i] = half_to_float(mean[i]);
  }
}

void store_key_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* k) {
  std::memset(k, 0, side_bytes(n_rows, head_dim, 16));
  for (int token = 0; token < n_rows; ++token)
    for (int dim = 0; dim < head_dim; ++dim)
      k[k_half_index(head_dim, token, dim)] = float_to_half(safe(rows[static_cast<size_t>(token) * stride + dim]));
}

void store_value_halves(int head_dim, int n_rows, const float* rows, size_t stride, uint16_t* v) {
  std::memset(v, 0, side_bytes(n_rows, head_dim, 16));
  for (int token = 0; token < n_rows; ++token)
    for (int dim = 0; dim < head_dim; ++dim)
      v[v_half_index(head_dim, token, dim)] = float_to_half(safe(rows[static_cast<size_t>(token) * stride + dim]));
}

}  // namespace recalld::kernels::reference
