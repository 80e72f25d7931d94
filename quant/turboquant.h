// TurboQuant: a seeded randomised Hadamard transform, then the Lloyd-Max quantizer of the normal distribution on every
// coordinate, with one corrected scale per vector (TurboQuant_mse of arXiv 2504.19874 without its 1-bit residual; the
// scales of DRIVE / EDEN). 4, 3 or 2 bits, separately for keys and values; K and V have their own signs.
//
// Keys are centred by default: what is coded is T k less the page's mean of T k, which stands in the page as halves.
// The mean is added back exactly in the logits (q . mean), so centring changes the error alone: it no longer grows
// with a constant part shared by all keys (attention biases of the Qwen family are the known case). It hurts the few
// keys that are unlike the others, above all the first token of a text, which takes much of the attention: keep the
// first tokens in none16 pages (docs/page-format.md has the measurement).
//
// trellis-4, -3, -2 and so on are the same with trellis codes (kernels/trellis.h): as many bits, some two thirds of the
// squared error, a longer search when rows are coded.
//
// Scales: ScaleRule::kMatched on keys, kUnbiased on values (measured there too). Layer and head do not matter: one pair
// of transforms serves the whole model.
#pragma once

#include "kernels/encode.h"
#include "quant/codec.h"

namespace recalld::quant {

inline constexpr uint16_t kTurboQuantId = 2;
inline constexpr uint16_t kTrellisId = 7;
inline constexpr uint64_t kTurboQuantSeed = 0x7265'6361'6c6c'6400u;

class TurboQuant final : public Codec {
 public:
  // grid: kLloydMax for turboquant, kTrellis for trellis. k_bits, v_bits: 4, 3 or 2.
  TurboQuant(kernels::Grid grid, int k_bits, int v_bits, bool centred, uint64_t seed = kTurboQuantSeed);

  const std::string& name() const override { return name_; }
  const CodecTag& tag() const override { return tag_; }
  Digest128 digest() const override;
  size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const override;
  Status encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const override;
  Status decode_page(const PageView& page, float* k, float* v) const override;
  bool plain_basis() const override { return false; }
  void transform_queries(int layer, int head, int head_dim, int n_rows, const float* q, float* out) const override;
  void restore_outputs(int layer, int head, int head_dim, int n_rows, float* acc) const override;

 private:
  std::string name_;
  CodecTag tag_;
  kernels::SignFlips k_flips_;
  kernels::SignFlips v_flips_;
};

}  // namespace recalld::quant
