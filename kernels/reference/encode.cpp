#include "kernels/encode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.h"

namespace recalld::kernels::reference {
namespace {

constexpr float kLargestHalf = 65504.0F;
constexpr float kSmallestSquare = 1e-30F;

float safe(float value) {
  if (!std::isfinite(value)) return 0;
  return std::clamp(value, -kLargestHalf, kLargestHalf);
}

struct CodedRow {
  uint8_t codes[kMaxHeadDim];
  uint16_t scale;
};

// The nearest level by magnitude: antisymmetric levels need the positive boundaries alone.
int nearest_code(const Codebook& book, float z) {
  const int half = 1 << (book.bits - 1);
  int magnitude = 0;
  for (int i = half; i < 2 * half - 1; ++i) magnitude += std::fabs(z) >= book.boundaries[i];
  return z < 0 ? half - 1 - magnitude : half + magnitude;
}

CodedRow encode_row(const EncodeSpec& spec, const float* x, const float* mean) {
  const Codebook& book = lloyd_max(spec.bits);
  float y[kMaxHeadDim];
  for (int i = 0; i < spec.head_dim; ++i) y[i] = safe(x[i]);
  reference::hadamard(*spec.flips, spec.head_dim, 1, y, static_cast<size_t>(spec.head_dim), y);
  float square = 0;
  for (int i = 0; i < spec.head_dim; ++i) {
    if (mean != nullptr) y[i] -= mean[i];
    square += y[i] * y[i];
  }
  const bool zero = !(square >= kSmallestSquare);
  const float to_unit = zero ? 0.0F : std::sqrt(static_cast<float>(spec.head_dim) / square);

  CodedRow row;
  float dot = 0, level_square = 0;
  for (int i = 0; i < spec.head_dim; ++i) {
    const int code = nearest_code(book, y[i] * to_unit);
    const auto level = static_cast<float>(book.levels[code]);
    dot += y[i] * level;
    level_square += level * level;
    row.codes[i] = static_cast<uint8_t>(code);
  }
  float scale = 0;
  if (!zero) {
    switch (spec.rule) {
      case ScaleRule::kMatched:
        scale = std::sqrt(square / level_square) / book.unit;
        break;
      case ScaleRule::kUnbiased:
        scale = square / (dot * book.unit);
        break;
      case ScaleRule::kLeastSquares:
        scale = dot / (level_square * book.unit);
        break;
    }
  }
  row.scale = float_to_half(std::min(scale, kLargestHalf));
  return row;
}

using SetCode = void (*)(uint8_t*, int, int, int, int, int, int);

void encode(SetCode set_code, const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
            uint8_t* codes, uint16_t* scales) {
  const int padded = padded_tokens(n_rows);
  std::memset(codes, 0, side_bytes(n_rows, spec.head_dim, spec.bits));
  std::fill_n(scales, padded, static_cast<uint16_t>(0));
  for (int token = 0; token < n_rows; ++token) {
    const CodedRow row = encode_row(spec, rows + static_cast<size_t>(token) * stride, mean);
    scales[token] = row.scale;
    for (int dim = 0; dim < spec.head_dim; ++dim)
      set_code(codes, padded, spec.head_dim, spec.bits, token, dim, row.codes[dim]);
  }
}

}  // namespace

void encode_keys(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, const float* mean,
                 uint8_t* codes, uint16_t* scales) {
  encode(set_k_code, spec, n_rows, rows, stride, mean, codes, scales);
}

void encode_values(const EncodeSpec& spec, int n_rows, const float* rows, size_t stride, uint8_t* codes,
                   uint16_t* scales) {
  encode(set_v_code, spec, n_rows, rows, stride, nullptr, codes, scales);
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
