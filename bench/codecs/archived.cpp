#include "bench/codecs/archived.h"

#include <cstring>
namespace recalld::bench {
namespace {

size_t bytes_of(const std::vector<std::byte>& pages, const quant::ArchiveOptions& options) {
  if (pages.empty()) return 0;
  AlignedBuffer aligned(pages.size());
  std::memcpy(aligned.data(), pages.data(), pages.size());
  return quant::encode_archive(aligned.span(), options).value().size();
}

}  // namespace

Status ArchiveReference::encode_page(const quant::PageMeta& meta, const float* k, const float* v,
                                     std::span<std::byte> out) const {
  RECALLD_RETURN_IF_ERROR(plain_.encode_page(meta, k, v, out));
  if (meta.layer == 0) {
    chunk_->finished_bytes += bytes_of(chunk_->pages, options_);
    chunk_->pages.clear();
  }
  chunk_->pages.insert(chunk_->pages.end(), out.begin(), out.end());
  // What a page's numbers come back as does not depend on the other pages of its archive.
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::byte> archive, quant::encode_archive(out, options_));
  return quant::decode_archive(archive, out);
}

size_t ArchiveReference::archive_bytes() const { return chunk_->finished_bytes + bytes_of(chunk_->pages, options_); }

std::shared_ptr<const quant::Codec> make_archived(const std::string& name) {
  const auto options = quant::archive_options(name);
  return options.ok() ? std::make_shared<ArchiveReference>(name, *options) : nullptr;
}

}  // namespace recalld::bench
