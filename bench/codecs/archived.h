// Pages whose numbers went through an archive (quant/archive.h) and back, as a reference for quality: 16-bit pages for
// any kernel, counted at what the archives of their chunks take.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quant/archive.h"
#include "quant/none16.h"

namespace recalld::bench {

// The pages of a chunk are coded in the order of their layers, by one thread.
class ArchiveReference final : public quant::Codec {
 public:
  // name: of quant::archive_options.
  ArchiveReference(std::string name, const quant::ArchiveOptions& options)
      : name_(std::move(name)), options_(options) {}

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

  // Of the archives of all chunks coded so far.
  size_t archive_bytes() const;

 private:
  struct Chunk {
    std::vector<std::byte> pages;  // of none16, before they were archived; the last chunk's
    size_t finished_bytes = 0;     // of the archives of the chunks before
  };

  std::string name_;
  quant::ArchiveOptions options_;
  quant::None16 plain_;
  std::unique_ptr<Chunk> chunk_ = std::make_unique<Chunk>();
};

// nullptr unless name is one of quant::archive_options.
std::shared_ptr<const quant::Codec> make_archived(const std::string& name);

}  // namespace recalld::bench
