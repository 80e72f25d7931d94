// none16: keys and values as halves, in the plain basis. The 16-bit yardstick of every other codec.
#pragma once

#include "quant/codec.h"

namespace recalld::quant {

inline constexpr uint16_t kNone16Id = 1;

class None16 final : public Codec {
 public:
  None16();

  const std::string& name() const override { return name_; }
  const CodecTag& tag() const override { return tag_; }
  Digest128 digest() const override;
  size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const override;
  Status encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const override;
  Status decode_page(const PageView& page, float* k, float* v) const override;
  bool plain_basis() const override { return true; }
  void transform_queries(int layer, int head, int head_dim, int n_rows, const float* q, float* out) const override;
  void restore_outputs(int layer, int head, int head_dim, int n_rows, float* acc) const override;

 private:
  std::string name_ = "none16";
  CodecTag tag_;
};

}  // namespace recalld::quant
