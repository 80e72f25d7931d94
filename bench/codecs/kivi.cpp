#include "bench/codecs/kivi.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace recalld::bench {
namespace {

float through_half(float value) { return half_to_float(float_to_half(value)); }

// count numbers, `stride` apart, to what their codes stand for.
void round_group(float* values, size_t stride, int count, int bits) {
  float low = values[0], high = values[0];
  for (int i = 1; i < count; ++i) {
    low = std::min(low, values[static_cast<size_t>(i) * stride]);
    high = std::max(high, values[static_cast<size_t>(i) * stride]);
  }
  const int top = (1 << bits) - 1;
  const float step = through_half(std::max(high - low, 1e-8F) / static_cast<float>(top));
  const float zero = through_half(low);
  for (int i = 0; i < count; ++i) {
    float& value = values[static_cast<size_t>(i) * stride];
    const float code = step > 0 ? std::floor((value - zero) / step + 0.5F) : 0;
    value = zero + std::clamp(code, 0.0F, static_cast<float>(top)) * step;
  }
}

}  // namespace

Status KiviReference::encode_page(const quant::PageMeta& meta, const float* k, const float* v,
                                  std::span<std::byte> out) const {
  const size_t row = static_cast<size_t>(meta.n_kv_heads) * static_cast<size_t>(meta.head_dim);
  const size_t size = row * static_cast<size_t>(meta.n_tokens);
  std::vector<float> keys(k, k + size), values(v, v + size);
  for (int first = 0; first < meta.n_tokens; first += kGroup)
    for (size_t channel = 0; channel < row; ++channel)
      round_group(&keys[static_cast<size_t>(first) * row + channel], row, std::min(kGroup, meta.n_tokens - first),
                  bits_);
  for (size_t first = 0; first < size; first += static_cast<size_t>(meta.head_dim))
    for (int channel = 0; channel < meta.head_dim; channel += kGroup)
      round_group(&values[first + static_cast<size_t>(channel)], 1, std::min(kGroup, meta.head_dim - channel), bits_);
  return plain_.encode_page(meta, keys.data(), values.data(), out);
}

size_t KiviReference::counted_bytes(int n_kv_heads, int head_dim, int n_tokens) const {
  const auto heads = static_cast<size_t>(n_kv_heads), dims = static_cast<size_t>(head_dim),
             tokens = static_cast<size_t>(n_tokens);
  const auto groups = [](size_t n) { return (n + kGroup - 1) / kGroup; };
  const size_t codes = 2 * heads * ((dims * tokens * static_cast<size_t>(bits_) + 7) / 8);
  return quant::kPageHeaderBytes + codes + 4 * heads * (groups(tokens) * dims + tokens * groups(dims));
}

std::shared_ptr<const quant::Codec> make_kivi(const std::string& name) {
  if (name == "kivi-2") return std::make_shared<KiviReference>(2);
  if (name == "kivi-4") return std::make_shared<KiviReference>(4);
  return nullptr;
}

}  // namespace recalld::bench
