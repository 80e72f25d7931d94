// KIVI (arXiv 2402.02750): keys in groups of 32 tokens per channel, values in groups of 32 channels per token, each
// group with equal steps from its least to its greatest number, scale and zero point as halves.
#pragma once

#include "bench/codecs/reference_codec.h"

namespace recalld::bench {

class KiviReference final : public ReferenceCodec {
 public:
  static constexpr size_t kGroup = 32;

  // bits: 2 or 4.
  explicit KiviReference(int bits) : ReferenceCodec("kivi-" + std::to_string(bits)), bits_(bits) {}

  size_t counted_bytes(const quant::PageMeta& meta) const override;

 protected:
  Status approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const override;

 private:
  int bits_;
};

}  // namespace recalld::bench
