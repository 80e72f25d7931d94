#include "quant/page.h"

#include <algorithm>
#include <bit>
#include <string>

namespace recalld::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "pages are little endian in memory and on disk");

constexpr size_t kSectionAlignment = 64;

// Byte for byte what stands at the beginning of a page (docs/page-format.md).
struct Header {
  uint32_t magic;
  uint16_t layout_version;
  uint16_t header_bytes;
  uint16_t codec_id;
  uint16_t codec_version;
  uint8_t k_bits;
  uint8_t v_bits;
  uint16_t flags;
  uint64_t seed;
  int32_t layer;
  int32_t n_kv_heads;
  int32_t head_dim;
  int32_t n_tokens;
  int32_t rope_start;
  uint32_t reserved;
  int64_t token_start;
  uint64_t page_bytes;
  uint64_t fingerprint_low;
  uint64_t fingerprint_high;
  uint64_t more_reserved[5];
  uint64_t checksum;
};
static_assert(sizeof(Header) == kPageHeaderBytes);
static_assert(offsetof(Header, seed) == 16 && offsetof(Header, token_start) == 48);
static_assert(offsetof(Header, checksum) == kPageHeaderBytes - sizeof(uint64_t));

// Where the sections of one KV head begin, from the beginning of that head's part.
struct HeadSections {
  size_t k, k_scale, k_mean, v, v_scale, end;
};

HeadSections head_sections(const CodecTag& codec, int head_dim, int n_tokens) {
  const auto section = [](size_t bytes) { return round_up(bytes, kSectionAlignment); };
  const size_t scales = static_cast<size_t>(kernels::padded_tokens(n_tokens)) * sizeof(uint16_t);
  const bool centred = (codec.flags & kFlagCentred) != 0;
  HeadSections at;
  at.k = 0;
  at.k_scale = at.k + section(kernels::side_bytes(n_tokens, head_dim, codec.k_bits));
  at.k_mean = at.k_scale + (codec.k_bits == 16 ? 0 : section(scales));
  at.v = at.k_mean + (centred ? section(static_cast<size_t>(head_dim) * sizeof(uint16_t)) : 0);
  at.v_scale = at.v + section(kernels::side_bytes(n_tokens, head_dim, codec.v_bits));
  at.end = at.v_scale + (codec.v_bits == 16 ? 0 : section(scales));
  return at;
}

uint64_t page_checksum(std::span<const std::byte> page) {
  Header header;
  std::memcpy(&header, page.data(), sizeof header);
  header.checksum = checksum64(page.subspan(kPageHeaderBytes));
  return checksum64(std::as_bytes(std::span(&header, 1)));
}

bool known_bits(int bits) { return bits == 16 || (bits >= 2 && bits <= 4); }

CodecTag tag_of(const Header& header) {
  return {header.codec_id, header.codec_version, header.k_bits, header.v_bits, header.flags, header.seed};
}

Header make_header(const CodecTag& codec, const PageMeta& meta, size_t size) {
  Header header{};
  header.magic = kPageMagic;
  header.layout_version = kPageLayoutVersion;
  header.header_bytes = kPageHeaderBytes;
  header.codec_id = codec.id;
  header.codec_version = codec.version;
  header.k_bits = codec.k_bits;
  header.v_bits = codec.v_bits;
  header.flags = codec.flags;
  header.seed = codec.seed;
  header.layer = meta.layer;
  header.n_kv_heads = meta.n_kv_heads;
  header.head_dim = meta.head_dim;
  header.n_tokens = meta.n_tokens;
  header.rope_start = meta.rope_start;
  header.token_start = meta.token_start;
  header.page_bytes = size;
  header.fingerprint_low = meta.fingerprint.low;
  header.fingerprint_high = meta.fingerprint.high;
  return header;
}

Status corrupt_page(const std::string& what) {
  return corrupt("page: " + what + "; it must be rebuilt from the transcript");
}

// The first field that no page can have, in words; empty when there is none.
std::string wrong_field(const Header& header) {
  const auto is = [](const char* field, uint64_t value, const std::string& expected) {
    return std::string(field) + " is " + std::to_string(static_cast<int64_t>(value)) + ", expected " + expected;
  };
  const auto signed_is = [&is](const char* field, int64_t value, const char* expected) {
    return is(field, static_cast<uint64_t>(value), expected);
  };
  if (header.magic != kPageMagic) return is("magic", header.magic, std::to_string(kPageMagic));
  if (header.layout_version != kPageLayoutVersion) return is("layout version", header.layout_version, "1");
  if (header.header_bytes != kPageHeaderBytes) return is("header size", header.header_bytes, "128");
  if (header.codec_id == 0) return is("codec id", 0, "a positive number");
  if (header.codec_version == 0) return is("codec version", 0, "a positive number");
  if (!known_bits(header.k_bits)) return is("key bits", header.k_bits, "16, 4, 3 or 2");
  if (!known_bits(header.v_bits)) return is("value bits", header.v_bits, "16, 4, 3 or 2");
  if ((header.flags & ~kFlagCentred) != 0) return is("flags", header.flags, "0 or 1");
  if (header.flags != 0 && header.k_bits == 16) return is("flags", header.flags, "0 with 16-bit keys");
  if (header.layer < 0 || header.layer >= kMaxLayers) return signed_is("layer", header.layer, "0..65535");
  if (header.n_kv_heads < 1 || header.n_kv_heads > kMaxKvHeads)
    return signed_is("KV head count", header.n_kv_heads, "1..4096");
  if (header.head_dim < 16 || header.head_dim > kernels::kMaxHeadDim || header.head_dim % 16 != 0)
    return signed_is("head_dim", header.head_dim, "a multiple of 16 up to 256");
  if (header.n_tokens < 1 || header.n_tokens > kernels::kMaxPageTokens)
    return signed_is("token count", header.n_tokens, "1..256");
  if (header.rope_start < 0) return signed_is("rotary position", header.rope_start, "0 or more");
  if (header.token_start < 0) return signed_is("first token", header.token_start, "0 or more");
  if (header.reserved != 0 || std::ranges::any_of(header.more_reserved, [](uint64_t word) { return word != 0; }))
    return "a reserved field is not zero";
  const size_t size = page_bytes(tag_of(header), header.n_kv_heads, header.head_dim, header.n_tokens);
  if (header.page_bytes != size) return is("page size", header.page_bytes, std::to_string(size));
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

}  // namespace

size_t page_bytes(const CodecTag& codec, int n_kv_heads, int head_dim, int n_tokens) {
  return kPageHeaderBytes + static_cast<size_t>(n_kv_heads) * head_sections(codec, head_dim, n_tokens).end;
}

kernels::PageSlice PageView::slice(int head) const {
  const HeadSections at = head_sections(codec, meta.head_dim, meta.n_tokens);
  const std::byte* base = bytes.data() + kPageHeaderBytes + static_cast<size_t>(head) * at.end;
  const auto halves = [base](size_t offset) { return reinterpret_cast<const uint16_t*>(base + offset); };
  kernels::PageSlice slice;
  slice.k_bits = codec.k_bits;
  slice.v_bits = codec.v_bits;
  slice.k = reinterpret_cast<const uint8_t*>(base + at.k);
  slice.k_scale = codec.k_bits == 16 ? nullptr : halves(at.k_scale);
  slice.k_mean = (codec.flags & kFlagCentred) != 0 ? halves(at.k_mean) : nullptr;
  slice.v = reinterpret_cast<const uint8_t*>(base + at.v);
  slice.v_scale = codec.v_bits == 16 ? nullptr : halves(at.v_scale);
  slice.n_tokens = meta.n_tokens;
  return slice;
}

PageSections page_sections(const CodecTag& codec, const PageMeta& meta, int head, std::span<std::byte> page) {
  const HeadSections at = head_sections(codec, meta.head_dim, meta.n_tokens);
  std::byte* base = page.data() + kPageHeaderBytes + static_cast<size_t>(head) * at.end;
  const auto halves = [base](size_t offset) { return reinterpret_cast<uint16_t*>(base + offset); };
  PageSections sections;
  sections.k = reinterpret_cast<uint8_t*>(base + at.k);
  sections.k_scale = codec.k_bits == 16 ? nullptr : halves(at.k_scale);
  sections.k_mean = (codec.flags & kFlagCentred) != 0 ? halves(at.k_mean) : nullptr;
  sections.v = reinterpret_cast<uint8_t*>(base + at.v);
  sections.v_scale = codec.v_bits == 16 ? nullptr : halves(at.v_scale);
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
  const std::string wrong = wrong_field(make_header(codec, meta, size));
  return wrong.empty() ? ok_status() : invalid_argument("page: " + wrong);
}

}  // namespace recalld::quant
