#include "kernels/matmul.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/bytes.h"

namespace recalld::kernels::reference {
namespace {

float read_half(const std::byte* bytes) {
  uint16_t half = 0;
  std::memcpy(&half, bytes, sizeof half);
  return half_to_float(half);
}

struct Block {
  float scale = 0;
  float min = 0;
  int32_t q[kWeightBlock];  // offset subtracted
};

Block read_block(WeightFormat format, const std::byte* bytes) {
  Block block;
  block.scale = read_half(bytes);
  if (format == WeightFormat::kQ4_1) block.min = read_half(bytes + 2);
  const std::byte* codes = bytes + (format == WeightFormat::kQ4_1 ? 4 : 2);
  const int32_t offset = format == WeightFormat::kQ4_0 ? 8 : 0;
  for (int i = 0; i < kWeightBlock; ++i) {
    if (format == WeightFormat::kQ8_0) {
      block.q[i] = static_cast<int8_t>(codes[i]);
    } else {
      const auto byte = static_cast<uint8_t>(codes[i % 16]);
      block.q[i] = (i < 16 ? byte & 15 : byte >> 4) - offset;
    }
  }
  return block;
}

void quantize_block(const float* x, int b, ActivationGroup* group) {
  float largest = 0;
  bool finite = true;
  for (int i = 0; i < kWeightBlock; ++i) {
    finite &= std::isfinite(x[i]);
    largest = std::max(largest, std::fabs(x[i]));
  }
  const float scale = finite ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
  const float inverse = finite && largest > 0 ? 127.0F / largest : 0.0F;
  int32_t total = 0;
  for (int i = 0; i < kWeightBlock; ++i) {
    const auto code = static_cast<int8_t>(finite ? std::nearbyintf(x[i] * inverse) : 0.0F);
    int8_t* half = i < 16 ? group->low : group->high;
    half[b * 16 + i % 16] = code;
    total += code;
  }
  for (int lane = 4 * b; lane < 4 * b + 4; ++lane) {
    group->scale[lane] = scale;
    group->sum[lane] = scale * static_cast<float>(total);
    group->total[lane] = total;
  }
}

float dot_row(const WeightMatrix& weights, const std::byte* row, const ActivationGroup* x) {
  float sums[4] = {};
  for (int b = 0; b < weights.n_in / kWeightBlock; ++b) {
    const Block block = read_block(weights.format, row + static_cast<size_t>(b) * weight_block_bytes(weights.format));
    const ActivationGroup& group = x[b / 4];
    const int at = b % 4;
    int32_t dot = 0;
    for (int i = 0; i < 16; ++i) dot += block.q[i] * group.low[at * 16 + i] + block.q[16 + i] * group.high[at * 16 + i];
    sums[at] = std::fma(block.scale * group.scale[at * 4], static_cast<float>(dot), sums[at]);
    if (weights.format == WeightFormat::kQ4_1) sums[at] = std::fma(block.min, group.sum[at * 4], sums[at]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out) {
  std::memset(static_cast<void*>(out), 0, activation_bytes(n_in));
  for (int b = 0; b < n_in / kWeightBlock; ++b) quantize_block(x + b * kWeightBlock, b % 4, &out[b / 4]);
}

void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride) {
  const size_t row_bytes = static_cast<size_t>(weights.n_in / kWeightBlock) * weight_block_bytes(weights.format);
  for (int32_t t = 0; t < n_tokens; ++t) {
    const ActivationGroup* token = x + static_cast<size_t>(t) * activation_groups(weights.n_in);
    for (int32_t r = row_begin; r < row_end; ++r) {
      out[static_cast<size_t>(t) * out_stride + r] = dot_row(weights, weights.data + r * row_bytes, token);
    }
  }
}

}  // namespace recalld::kernels::reference
