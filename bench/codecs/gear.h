// GEAR (arXiv 2403.05527, algorithm 1): codes of a few bits, a matrix of low rank near what the codes miss, and the
// outliers as they are.
//
// Outliers: the s / 2 = 1 % greatest and the 1 % least numbers of each channel of keys and of each token of values (all
// KV heads of the layer together), rounded to whole numbers: none of a channel of fewer than 50 tokens. Codes: the
// backbones that the paper pairs with these bits. gear-2: KIVI in groups of 64, keys per channel and values per token.
// gear-4: KCVT, a whole channel of the page's keys and a whole token's values per group. Low rank: 4 for each head, by
// power iteration.
//
// Differs from the paper:
// - A prefill of hundreds of tokens is compressed as one matrix there, and later ones in buffers of 20 with rank 2;
//   here every page is such a matrix, with rank 4. Factors and outliers weigh more on short pages: at 64 tokens of 64
//   dims rank 4 alone is 2 bits per number, at 256 tokens 1.25.
// - A kept outlier replaces its number at the end, and counts neither in the range of its group nor in the residual. In
//   the paper the codes and the factors are added to it: never better.
//
// Counted: codes; scales, zero points and factors as halves; outliers as a half and an index of 16 bits.
#pragma once

#include "bench/codecs/reference_codec.h"

namespace recalld::bench {

class GearReference final : public ReferenceCodec {
 public:
  static constexpr int kRank = 4;
  static constexpr size_t kKiviGroup = 64;
  static constexpr double kOutlierShare = 0.02;

  // bits: 2 or 4.
  explicit GearReference(int bits) : ReferenceCodec("gear-" + std::to_string(bits)), bits_(bits) {}

  size_t counted_bytes(const quant::PageMeta& meta) const override;

 protected:
  Status approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const override;

 private:
  bool kcvt() const { return bits_ == 4; }

  int bits_;
};

}  // namespace recalld::bench
