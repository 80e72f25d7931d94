// KIVI (arXiv 2402.02750) as a reference for quality: keys in groups of 32 tokens per channel, values in groups of 32
// channels per token, each group with equal steps from its least to its greatest number, scale and zero point as
// halves.
//
// Its pages hold the numbers that the codes stand for as 16-bit floats, so that any kernel attends to them;
// counted_bytes() is what the codes would take. Not for memory that is kept.
#pragma once

#include <memory>
#include <string>

#include "quant/none16.h"

namespace recalld::bench {

class KiviReference final : public quant::Codec {
 public:
  static constexpr int kGroup = 32;

  // bits: 2 or 4.
  explicit KiviReference(int bits) : bits_(bits), name_("kivi-" + std::to_string(bits)) {}

  const std::string& name() const override { return name_; }
  const quant::CodecTag& tag() const override { return plain_.tag(); }
  Digest128 digest() const override { return plain_.digest(); }
  size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const override {
    return plain_.page_bytes(n_kv_heads, head_dim, n_tokens);
  }
  Status encode_page(const quant::PageMeta& meta, const float* k, const float* v,
                     std::span<std::byte> out) const override;
  Status decode_page(const quant::PageView& page, float* k, float* v) const override {
    return plain_.decode_page(page, k, v);
  }
  bool plain_basis() const override { return true; }
  void transform_queries(int, int, int, int, const float*, float*) const override {}
  void restore_outputs(int, int, int, int, float*) const override {}

  // A page of codes, with a header as long as ours.
  size_t counted_bytes(int n_kv_heads, int head_dim, int n_tokens) const;

 private:
  int bits_;
  std::string name_;
  quant::None16 plain_;
};

// nullptr unless name is "kivi-2" or "kivi-4".
std::shared_ptr<const quant::Codec> make_kivi(const std::string& name);

}  // namespace recalld::bench
