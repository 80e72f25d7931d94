// A published codec as a reference for quality: its pages hold the numbers that its codes stand for as 16-bit floats,
// so that any kernel attends to them; counted_bytes() is what the codes would take. Not for memory that is kept.
#pragma once

#include <span>
#include <string>

#include "quant/none16.h"

namespace recalld::bench {

// Immutable; any thread.
class ReferenceCodec : public quant::Codec {
 public:
  const std::string& name() const final { return name_; }
  const quant::CodecTag& tag() const final { return plain_.tag(); }
  Digest128 digest() const final;
  size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const final {
    return plain_.page_bytes(n_kv_heads, head_dim, n_tokens);
  }
  Status encode_page(const quant::PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const final;
  Status decode_page(const quant::PageView& page, float* k, float* v) const final {
    return plain_.decode_page(page, k, v);
  }
  bool plain_basis() const final { return true; }
  void transform_queries(int layer, int head, int head_dim, int n_rows, const float* q, float* out) const final {
    plain_.transform_queries(layer, head, head_dim, n_rows, q, out);
  }
  void restore_outputs(int, int, int, int, float*) const final {}

  // All that a page of codes needs to be read again, with a header as long as ours.
  virtual size_t counted_bytes(const quant::PageMeta& meta) const = 0;

 protected:
  explicit ReferenceCodec(std::string name) : name_(std::move(name)) {}

  // keys, values: [n_tokens][n_kv_heads][head_dim], finite. Replaced by what their codes stand for. kInvalidArgument
  // for a page that this codec was not made for.
  virtual Status approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const = 0;

 private:
  std::string name_;
  quant::None16 plain_;
};

}  // namespace recalld::bench
