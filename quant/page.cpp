#include "quant/page.h"

#include <algorithm>
#include <bit>
#include <string>

namespace recalld::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "pages are little endian in memory and on disk");

constexpr size_t kCodeAlignment = 64;

// How a side's format stands in the header.
struct HeaderBand {
  uint8_t bits;
  uint8_t chunks;  // of 16 dims; 0: all dims that are left
};
struct HeaderSide {
  HeaderBand bands[kernels::kMaxBands];
};
constexpr int kFormGrid = 0x0f;
constexpr int kFormScalePerBand = 0x10;
constexpr int kFormOffsets = 0x20;
constexpr int kFormByteScales = 0x40;

// Byte for byte what stands at the beginning of a page (docs/page-format.md).
struct Header {
  uint32_t magic;
  uint16_t layout_version;
  uint16_t header_bytes;
  uint16_t codec_id;
  uint16_t codec_version;
  uint8_t k_form;
  uint8_t v_form;
  uint16_t flags;
  HeaderSide k;
  HeaderSide v;
  uint64_t parameter;
  uint16_t layer;
  uint16_t n_kv_heads;
  uint16_t head_dim;
  uint16_t n_tokens;
  int32_t rope_start;
  uint32_t page_bytes;
  int64_t token_start;
  uint64_t fingerprint_low;
  uint64_t fingerprint_high;
  uint64_t reserved;
  uint64_t checksum;
};
static_assert(sizeof(Header) == kPageHeaderBytes);
static_assert(offsetof(Header, parameter) == 32 && offsetof(Header, token_start) == 56);
static_assert(offsetof(Header, checksum) == kPageHeaderBytes - sizeof(uint64_t));

// Where the sections of a KV head begin. Scales, offsets and means count from the beginning of the page, codes from
// that of the codes.
struct HeadSections {
  size_t k_scale, v_scale, k_offset, v_offset, k_mean;
  size_t k, v;
};

// Sizes of all sections of a page. All are multiples of 16 bytes.
struct PageLayout {
  kernels::SideFormat k_format, v_format;                          // resolved
  size_t k_scales, v_scales, k_offsets, v_offsets, mean, numbers;  // of one head; numbers: all of them
  size_t k_codes, v_codes;                                         // of one head, padded
  size_t codes;                                                    // where those of all heads begin
  size_t end;

  PageLayout(const CodecTag& codec, int n_kv_heads, int head_dim, int n_tokens)
      : k_format(kernels::resolve(codec.k, head_dim)), v_format(kernels::resolve(codec.v, head_dim)) {
    const auto heads = static_cast<size_t>(n_kv_heads);
    const auto padded = static_cast<size_t>(kernels::padded_tokens(n_tokens));
    k_scales = kernels::scales_bytes(k_format, n_tokens);
    v_scales = kernels::scales_bytes(v_format, n_tokens);
    k_offsets = k_format.offsets ? padded * sizeof(uint16_t) : 0;
    v_offsets = v_format.offsets ? padded * sizeof(uint16_t) : 0;
    mean = (codec.flags & kFlagCentred) != 0 ? static_cast<size_t>(head_dim) * sizeof(uint16_t) : 0;
    numbers = k_scales + v_scales + k_offsets + v_offsets + mean;
    k_codes = round_up(kernels::side_bytes(n_tokens, head_dim, k_format), kCodeAlignment);
    v_codes = round_up(kernels::side_bytes(n_tokens, head_dim, v_format), kCodeAlignment);
    codes = round_up(kPageHeaderBytes + heads * numbers, kCodeAlignment);
    end = codes + heads * (k_codes + v_codes);
  }

  HeadSections head(int index) const {
    const auto before = static_cast<size_t>(index);
    HeadSections at;
    at.k_scale = kPageHeaderBytes + before * numbers;
    at.v_scale = at.k_scale + k_scales;
    at.k_offset = at.v_scale + v_scales;
    at.v_offset = at.k_offset + k_offsets;
    at.k_mean = at.v_offset + v_offsets;
    at.k = codes + before * (k_codes + v_codes);
    at.v = at.k + k_codes;
    return at;
  }
};

// The pointers of one head, as they are in a page that is read or one that is written.
template <class Sections, class Byte>
void point_at(const PageLayout& layout, int head, Byte* page, Sections& to) {
  const HeadSections at = layout.head(head);
  const auto bytes = [page](size_t size, size_t offset) {
    return size == 0 ? nullptr : reinterpret_cast<decltype(to.k)>(page + offset);
  };
  const auto halves = [page](size_t size, size_t offset) {
    return size == 0 ? nullptr : reinterpret_cast<decltype(to.k_offset)>(page + offset);
  };
  to.k = reinterpret_cast<decltype(to.k)>(page + at.k);
  to.k_scale = bytes(layout.k_scales, at.k_scale);
  to.k_offset = halves(layout.k_offsets, at.k_offset);
  to.k_mean = halves(layout.mean, at.k_mean);
  to.v = reinterpret_cast<decltype(to.v)>(page + at.v);
  to.v_scale = bytes(layout.v_scales, at.v_scale);
  to.v_offset = halves(layout.v_offsets, at.v_offset);
}

uint64_t page_checksum(std::span<const std::byte> page) {
  Header header;
  std::memcpy(&header, page.data(), sizeof header);
  header.checksum = checksum64(page.subspan(kPageHeaderBytes));
  return checksum64(std::as_bytes(std::span(&header, 1)));
}

uint8_t form_of(const kernels::SideFormat& format) {
  return static_cast<uint8_t>(static_cast<int>(format.grid) | (format.scale_per_band ? kFormScalePerBand : 0) |
                              (format.offsets ? kFormOffsets : 0) | (format.byte_scales ? kFormByteScales : 0));
}

HeaderSide side_of(const kernels::SideFormat& format) {
  HeaderSide side{};
  for (int i = 0; i < format.n_bands; ++i)
    side.bands[i] = {static_cast<uint8_t>(format.bands[i].bits), static_cast<uint8_t>(format.bands[i].n_dims / 16)};
  return side;
}

kernels::SideFormat format_of(const HeaderSide& side, uint8_t form) {
  kernels::SideFormat format;
  format.grid = static_cast<kernels::Grid>(form & kFormGrid);
  format.scale_per_band = (form & kFormScalePerBand) != 0;
  format.offsets = (form & kFormOffsets) != 0;
  format.byte_scales = (form & kFormByteScales) != 0;
  for (int i = 0; i < kernels::kMaxBands; ++i) {
    const auto [bits, chunks] = side.bands[i];
    format.bands[i] = {bits, static_cast<int16_t>(chunks * 16)};
    if (bits != 0 || chunks != 0) format.n_bands = static_cast<int8_t>(i + 1);
  }
  return format;
}

CodecTag tag_of(const Header& header) {
  return {header.codec_id, header.codec_version, format_of(header.k, header.k_form), format_of(header.v, header.v_form),
          header.flags,    header.parameter};
}

Header make_header(const CodecTag& codec, const PageMeta& meta, size_t size) {
  Header header{};
  header.magic = kPageMagic;
  header.layout_version = kPageLayoutVersion;
  header.header_bytes = kPageHeaderBytes;
  header.codec_id = codec.id;
  header.codec_version = codec.version;
  header.k_form = form_of(codec.k);
  header.v_form = form_of(codec.v);
  header.flags = codec.flags;
  header.k = side_of(codec.k);
  header.v = side_of(codec.v);
  header.parameter = codec.parameter;
  header.layer = static_cast<uint16_t>(meta.layer);
  header.n_kv_heads = static_cast<uint16_t>(meta.n_kv_heads);
  header.head_dim = static_cast<uint16_t>(meta.head_dim);
  header.n_tokens = static_cast<uint16_t>(meta.n_tokens);
  header.rope_start = meta.rope_start;
  header.page_bytes = static_cast<uint32_t>(size);
  header.token_start = meta.token_start;
  header.fingerprint_low = meta.fingerprint.low;
  header.fingerprint_high = meta.fingerprint.high;
  return header;
}

Status corrupt_page(const std::string& what) {
  return corrupt("page: " + what + "; it must be rebuilt from the transcript");
}

std::string is(const char* field, int64_t value, const std::string& expected) {
  return std::string(field) + " is " + std::to_string(value) + ", expected " + expected;
}

// The first thing that no page can have, in words; empty when there is none.
std::string wrong_field(const CodecTag& codec, const PageMeta& meta, size_t size) {
  if (codec.id == 0) return is("codec id", 0, "a positive number");
  if (codec.version == 0) return is("codec version", 0, "a positive number");
  if (meta.layer < 0 || meta.layer >= kMaxLayers) return is("layer", meta.layer, "0..65535");
  if (meta.n_kv_heads < 1 || meta.n_kv_heads > kMaxKvHeads) return is("KV head count", meta.n_kv_heads, "1..4096");
  if (meta.head_dim < 16 || meta.head_dim > kernels::kMaxHeadDim || meta.head_dim % 16 != 0)
    return is("head_dim", meta.head_dim, "a multiple of 16 up to 256");
  if (meta.n_tokens < 1 || meta.n_tokens > kernels::kMaxPageTokens) return is("token count", meta.n_tokens, "1..256");
  if (const std::string wrong = kernels::format_error(codec.k, meta.head_dim); !wrong.empty())
    return "format of keys: " + wrong;
  if (const std::string wrong = kernels::format_error(codec.v, meta.head_dim); !wrong.empty())
    return "format of values: " + wrong;
  if ((codec.flags & ~kFlagCentred) != 0) return is("flags", codec.flags, "0 or 1");
  if (codec.flags != 0 && codec.k.halves()) return is("flags", codec.flags, "0 with 16-bit keys");
  if (meta.rope_start < 0) return is("rotary position", meta.rope_start, "0 or more");
  if (meta.token_start < 0) return is("first token", meta.token_start, "0 or more");
  const size_t expected = page_bytes(codec, meta.n_kv_heads, meta.head_dim, meta.n_tokens);
  if (size != expected) return is("page size", static_cast<int64_t>(size), std::to_string(expected));
  return "";
}

PageMeta meta_of(const Header& header) {
  return {header.layer,
          header.n_kv_heads,
          header.head_dim,
          header.n_tokens,
          header.rope_start,
          header.token_start,
          {header.fingerprint_low, header.fingerprint_high}};
}

std::string wrong_field(const Header& header) {
  if (header.magic != kPageMagic) return is("magic", header.magic, std::to_string(kPageMagic));
  if (header.layout_version != kPageLayoutVersion)
    return is("layout version", header.layout_version, std::to_string(kPageLayoutVersion));
  if (header.header_bytes != kPageHeaderBytes)
    return is("header size", header.header_bytes, std::to_string(kPageHeaderBytes));
  constexpr int kKnownForm = kFormGrid | kFormScalePerBand | kFormOffsets | kFormByteScales;
  if ((header.k_form & ~kKnownForm) != 0) return is("form of keys", header.k_form, "0..127");
  if ((header.v_form & ~kKnownForm) != 0) return is("form of values", header.v_form, "0..127");
  if (header.reserved != 0) return "a reserved field is not zero";
  return wrong_field(tag_of(header), meta_of(header), header.page_bytes);
}

}  // namespace

std::string describe(const kernels::SideFormat& format) {
  if (format.halves()) return "16 bits";
  std::string text;
  for (int i = 0; i < format.n_bands; ++i) {
    const kernels::Band& band = format.bands[i];
    if (i > 0) text += "+";
    text += std::to_string(band.bits);
    if (format.n_bands > 1) text += "x" + (band.n_dims == kernels::kAllDims ? "rest" : std::to_string(band.n_dims));
  }
  text += " bits";
  if (format.grid == kernels::Grid::kUniform) text += " uniform";
  if (format.grid == kernels::Grid::kTrellis) text += " trellis";
  if (format.offsets) text += " with offsets";
  if (format.scale_per_band) text += ", a scale per band";
  if (format.byte_scales) text += ", 8-bit scales";
  return text;
}

size_t page_bytes(const CodecTag& codec, int n_kv_heads, int head_dim, int n_tokens) {
  return PageLayout(codec, n_kv_heads, head_dim, n_tokens).end;
}

kernels::PageSlice PageView::slice(int head) const {
  const PageLayout layout(codec, meta.n_kv_heads, meta.head_dim, meta.n_tokens);
  kernels::PageSlice slice;
  slice.k_format = layout.k_format;
  slice.v_format = layout.v_format;
  point_at(layout, head, bytes.data(), slice);
  slice.n_tokens = meta.n_tokens;
  return slice;
}

PageSections page_sections(const CodecTag& codec, const PageMeta& meta, int head, std::span<std::byte> page) {
  PageSections sections;
  point_at(PageLayout(codec, meta.n_kv_heads, meta.head_dim, meta.n_tokens), head, page.data(), sections);
  return sections;
}

Result<PageView> parse_page_prefix(std::span<const std::byte> bytes) {
  if (bytes.size() < kPageHeaderBytes)
    return corrupt_page("size " + std::to_string(bytes.size()) + " is less than a header");
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (const std::string wrong = wrong_field(header); !wrong.empty()) return corrupt_page(wrong);
  if (bytes.size() < header.page_bytes)
    return corrupt_page("size " + std::to_string(bytes.size()) + ", the header says " +
                        std::to_string(header.page_bytes));
  return PageView{tag_of(header), meta_of(header), bytes.first(header.page_bytes)};
}

Result<PageView> parse_page(std::span<const std::byte> bytes) {
  RECALLD_ASSIGN_OR_RETURN(PageView page, parse_page_prefix(bytes));
  if (page.bytes.size() != bytes.size())
    return corrupt_page("size " + std::to_string(bytes.size()) + ", the header says " +
                        std::to_string(page.bytes.size()));
  return page;
}

Result<PageView> verify_page(std::span<const std::byte> bytes) {
  RECALLD_ASSIGN_OR_RETURN(PageView page, parse_page(bytes));
  uint64_t stored;
  std::memcpy(&stored, bytes.data() + offsetof(Header, checksum), sizeof stored);
  if (stored != page_checksum(bytes))
    return corrupt_page("its bytes do not match its checksum (layer " + std::to_string(page.meta.layer) + ")");
  return page;
}

void write_page_header(const CodecTag& codec, const PageMeta& meta, std::span<std::byte> page) {
  Header header = make_header(codec, meta, page.size());
  std::memcpy(page.data(), &header, sizeof header);
  header.checksum = page_checksum(page);
  std::memcpy(page.data(), &header, sizeof header);
}

Status check_page(const CodecTag& codec, const PageMeta& meta, size_t size) {
  const std::string wrong = wrong_field(codec, meta, size);
  return wrong.empty() ? ok_status() : invalid_argument("page: " + wrong);
}

}  // namespace recalld::quant
