#include "tests/fuzz/page_bytes.h"

#include <stdexcept>

#include "tests/kernels/test_page.h"
#include "tests/quant/calibration_fixture.h"
#include "tests/quant/vectors.h"

namespace recalld::testing {
namespace {

using quant::CodecTag, quant::PageMeta;

template <class Number>
Number at(std::span<const std::byte> header, size_t offset) {
  Number number;
  std::memcpy(&number, header.data() + offset, sizeof number);
  return number;
}

kernels::SideFormat format_at(std::span<const std::byte> header, size_t form_offset, size_t bands_offset) {
  kernels::SideFormat format;
  const auto form = at<uint8_t>(header, form_offset);
  format.grid = static_cast<kernels::Grid>(form & 15);
  format.scale_per_band = (form & 16) != 0;
  format.offsets = (form & 32) != 0;
  for (size_t i = 0; i < kernels::kMaxBands; ++i) {
    const auto bits = at<uint8_t>(header, bands_offset + 2 * i), chunks = at<uint8_t>(header, bands_offset + 2 * i + 1);
    format.bands[i] = {bits, static_cast<int16_t>(chunks * 16)};
    if (bits != 0 || chunks != 0) format.n_bands = static_cast<int8_t>(i + 1);
  }
  return format;
}

struct CalibratedCodecs {
  std::shared_ptr<const quant::Calibration> calibration = filed(random_calibration(kCalibratedDim, kCalibratedHeads));
  std::vector<std::shared_ptr<const quant::Codec>> codecs;  // of both layers

  CalibratedCodecs() {
    for (const std::string& name : quant::calibrated_codec_names())
      for (auto& codec : quant::make_codecs(name, 2, calibration.get()).value()) codecs.push_back(std::move(codec));
  }
};

const CalibratedCodecs& calibrated() {
  static const CalibratedCodecs made;
  return made;
}

Bytes encoded(const quant::Codec& codec, const PageMeta& meta, uint64_t seed) {
  const int width = meta.n_kv_heads * meta.head_dim;
  const auto k = vectors(Kind::kBigMean, meta.n_tokens, width, seed),
             v = vectors(Kind::kGaussian, meta.n_tokens, width, seed + 1);
  AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  if (!codec.encode_page(meta, k.data(), v.data(), page.span()).ok()) throw std::logic_error("a seed is not encoded");
  return {page.data(), page.data() + page.size()};
}

}  // namespace

std::optional<size_t> size_of_page(std::span<const std::byte> header) {
  CodecTag tag{.id = 1, .k = format_at(header, 12, 16), .v = format_at(header, 13, 24)};
  tag.flags = at<uint16_t>(header, 14);
  const int heads = at<uint16_t>(header, 42), head_dim = at<uint16_t>(header, 44), n_tokens = at<uint16_t>(header, 46);
  if (heads < 1 || heads > 4096 || head_dim < 16 || head_dim > 256 || head_dim % 16 != 0 || n_tokens < 1 ||
      n_tokens > 256 || !kernels::format_error(tag.k, head_dim).empty() ||
      !kernels::format_error(tag.v, head_dim).empty())
    return std::nullopt;
  return quant::page_bytes(tag, heads, head_dim, n_tokens);
}

void fix_page_checksum(std::span<std::byte> page) {
  uint64_t checksum = checksum64(page.subspan(quant::kPageHeaderBytes));
  std::memcpy(page.data() + kPageChecksumOffset, &checksum, sizeof checksum);
  checksum = checksum64(page.first(quant::kPageHeaderBytes));
  std::memcpy(page.data() + kPageChecksumOffset, &checksum, sizeof checksum);
}

int count_pages(std::span<const std::byte> pages) {
  int count = 0;
  for (; !pages.empty(); ++count) {
    const auto page = quant::parse_page_prefix(pages);
    if (!page.ok() || !quant::verify_page(page->bytes).ok()) throw std::logic_error("what was decoded is no page");
    pages = pages.subspan(page->bytes.size());
  }
  return count;
}

CodecTag random_tag(Random& random, int head_dim) {
  const auto side = [&]() -> kernels::SideFormat {
    const std::vector<kernels::SideFormat> others =
        head_dim >= 64 ? kernels::other_formats(head_dim) : std::vector<kernels::SideFormat>{};
    const size_t choice = random() % (6 + others.size());
    if (choice < 3) return kernels::one_band(2 + static_cast<int>(choice));
    if (choice == 3) return kernels::one_band(16);
    if (choice < 6) return kernels::affine_band(static_cast<int>(2 * choice) - 6);
    return others[choice - 6];
  };
  switch (random() % 4) {
    case 0: {
      const std::vector<std::string> names = quant::codec_names();
      return quant::make_codec(names[random() % names.size()]).value()->tag();
    }
    case 1:
      return calibrated().codecs[random() % calibrated().codecs.size()]->tag();
    default: {
      CodecTag tag{.id = static_cast<uint16_t>(1 + random() % 6), .k = side(), .v = side()};
      if (!tag.k.halves() && random() % 2 == 0) tag.flags = quant::kFlagCentred;
      tag.parameter = random();
      return tag;
    }
  }
}

PageMeta random_meta(Random& random) {
  constexpr int kDims[] = {16, 16, 32, 32, 48, 64};
  PageMeta meta;
  meta.layer = static_cast<int32_t>(random() % 3);
  meta.n_kv_heads = 1 + static_cast<int32_t>(random() % 2);
  meta.head_dim = kDims[random() % std::size(kDims)];
  meta.n_tokens = 1 + static_cast<int32_t>(random() % (random() % 4 == 0 ? 33 : 6));
  meta.rope_start = static_cast<int32_t>(random() % 5000);
  meta.token_start = static_cast<int64_t>(random());
  return meta;
}

std::vector<Bytes> pages_of_every_codec() {
  std::vector<Bytes> pages;
  uint64_t seed = 1;
  for (const std::string& name : quant::codec_names())
    for (const auto& [n_tokens, head_dim] :
         {std::pair{1, 16}, std::pair{5, 48}, std::pair{17, name == "none16" ? 16 : 32}}) {
      PageMeta meta;
      meta.n_kv_heads = 1;
      meta.head_dim = head_dim;
      meta.n_tokens = n_tokens;
      pages.push_back(encoded(*quant::make_codec(name).value(), meta, ++seed));
    }
  for (size_t i = 0; i < calibrated().codecs.size(); ++i) {
    PageMeta meta;
    meta.layer = static_cast<int32_t>(i % 2);
    meta.n_kv_heads = kCalibratedHeads;
    meta.head_dim = kCalibratedDim;
    meta.n_tokens = i % 4 < 2 ? 3 : 20;
    pages.push_back(encoded(*calibrated().codecs[i], meta, ++seed));
  }
  for (const kernels::SideFormat& format : kernels::other_formats(64)) {
    // Any bytes are codes and halves.
    CodecTag tag{.id = 9, .k = format, .v = format, .flags = quant::kFlagCentred};
    PageMeta meta;
    meta.n_kv_heads = 1;
    meta.head_dim = 64;
    meta.n_tokens = 7;
    Bytes page(quant::page_bytes(tag, 1, 64, 7));
    Random random(static_cast<unsigned>(++seed));
    for (std::byte& byte : page) byte = static_cast<std::byte>(random() >> 8);
    quant::write_page_header(tag, meta, page);
    pages.push_back(page);
  }
  std::erase_if(pages, [](const Bytes& page) { return page.size() > kMaxFuzzedPage; });
  return pages;
}

std::vector<std::shared_ptr<const quant::Codec>> codecs_of(const CodecTag& tag) {
  if (auto codec = quant::codec_for(tag); codec.ok()) return {*codec};
  std::vector<std::shared_ptr<const quant::Codec>> found;
  for (const auto& codec : calibrated().codecs)
    if (codec->tag() == tag) found.push_back(codec);
  return found;
}

}  // namespace recalld::testing
