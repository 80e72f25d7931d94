#include "bench/codecs/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/bytes.h"

namespace recalld::bench {

float through_half(float value) { return half_to_float(float_to_half(value)); }

void round_group(float* values, size_t stride, size_t count, int bits, const uint8_t* skip) {
  const auto counts = [&](size_t i) { return skip == nullptr || skip[i * stride] == 0; };
  float low = std::numeric_limits<float>::max(), high = std::numeric_limits<float>::lowest();
  for (size_t i = 0; i < count; ++i) {
    if (!counts(i)) continue;
    low = std::min(low, values[i * stride]);
    high = std::max(high, values[i * stride]);
  }
  if (low > high) return;
  const auto top = static_cast<float>((1 << bits) - 1);
  const float step = through_half(std::max(high - low, 1e-8F) / top);
  const float zero = through_half(low);
  for (size_t i = 0; i < count; ++i) {
    if (!counts(i)) continue;
    float& value = values[i * stride];
    const float code = step > 0 ? std::floor((value - zero) / step + 0.5F) : 0;
    value = zero + std::clamp(code, 0.0F, top) * step;
  }
}

void round_channels(size_t n_tokens, size_t width, size_t group, int bits, float* x, const uint8_t* skip) {
  for (size_t first = 0; first < n_tokens; first += group)
    for (size_t channel = 0; channel < width; ++channel) {
      const size_t at = first * width + channel;
      round_group(x + at, width, std::min(group, n_tokens - first), bits, skip == nullptr ? nullptr : skip + at);
    }
}

void round_rows(size_t n_rows, size_t width, size_t group, int bits, float* x, const uint8_t* skip) {
  for (size_t row = 0; row < n_rows; ++row)
    for (size_t first = 0; first < width; first += group) {
      const size_t at = row * width + first;
      round_group(x + at, 1, std::min(group, width - first), bits, skip == nullptr ? nullptr : skip + at);
    }
}

}  // namespace recalld::bench
