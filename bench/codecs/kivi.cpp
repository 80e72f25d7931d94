#include "bench/codecs/kivi.h"

#include "bench/codecs/rounding.h"

namespace recalld::bench {

Status KiviReference::approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const {
  const auto heads = static_cast<size_t>(meta.n_kv_heads), dims = static_cast<size_t>(meta.head_dim),
             tokens = static_cast<size_t>(meta.n_tokens);
  round_channels(tokens, heads * dims, kGroup, bits_, keys.data());
  round_rows(tokens * heads, dims, kGroup, bits_, values.data());
  return ok_status();
}

size_t KiviReference::counted_bytes(const quant::PageMeta& meta) const {
  const auto heads = static_cast<size_t>(meta.n_kv_heads), dims = static_cast<size_t>(meta.head_dim),
             tokens = static_cast<size_t>(meta.n_tokens);
  const size_t groups = groups_of(tokens, kGroup) * dims + tokens * groups_of(dims, kGroup);
  return quant::kPageHeaderBytes + heads * (2 * code_bytes(dims * tokens, bits_) + kGroupBytes * groups);
}

}  // namespace recalld::bench
