// The page: the unit of memory and of views (docs/page-format.md). On disk pages lie encoded: quant/rest.h.
//
// header (96 bytes, little endian) | per KV head: key scales, value scales, key offsets, value offsets, key mean | to a
// multiple of 64 bytes | per KV head: key codes, value codes, each at a multiple of 64 bytes and laid out by
// kernels/layout.h | to a multiple of 64 bytes. Immutable once written.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "kernels/attend.h"

namespace recalld::quant {

inline constexpr uint32_t kPageMagic = 0x31475052;  // "RPG1"
inline constexpr uint16_t kPageLayoutVersion = 2;
inline constexpr size_t kPageHeaderBytes = 96;
inline constexpr uint16_t kFlagCentred = 1;  // CodecTag::flags: keys are stored less their page's mean
inline constexpr int kMaxLayers = 65536;
inline constexpr int kMaxKvHeads = 4096;

// Which codec wrote a page, with all it needs to be read again.
struct CodecTag {
  uint16_t id = 0;  // docs/page-format.md; numbers are never reused
  uint16_t version = 1;
  kernels::SideFormat k;  // a last band may have kAllDims
  kernels::SideFormat v;
  uint16_t flags = 0;      // kFlagCentred
  uint64_t parameter = 0;  // the codec's own: seed of the sign flips, digest of the calibration
  friend bool operator==(const CodecTag&, const CodecTag&) = default;
};

// "16 bits", "4 bits", "4x16+2x32+0x16 bits, a scale per band", "2 bits uniform with offsets": for messages.
std::string describe(const kernels::SideFormat& format);

struct PageMeta {
  int32_t layer = 0;
  int32_t n_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t n_tokens = 0;     // 1..kMaxPageTokens
  int32_t rope_start = 0;   // position at which token 0 was rotated; the others follow by ones
  int64_t token_start = 0;  // index of token 0 in the session's trunk
  Digest128 fingerprint;    // model, tokenizer, template, engine numerics, codec
};

// A page whose header has been checked: sizes add up, so reading any section is inside the bytes.
struct PageView {
  CodecTag codec;
  PageMeta meta;
  std::span<const std::byte> bytes;

  // What the kernels need of one KV head; view_start, variant and space are left 0 for the caller.
  kernels::PageSlice slice(int head) const;
};

// Total size of a page with this tag.
size_t page_bytes(const CodecTag& codec, int n_kv_heads, int head_dim, int n_tokens);

// Checks magic, version, ranges, formats and that bytes.size() is exactly what the header implies. Never reads past
// `bytes`, whatever they contain. kCorrupt names the field. Pages of layout version 1 are refused like any other that
// must be rebuilt. `bytes` must be 64-byte aligned for slice().
Result<PageView> parse_page(std::span<const std::byte> bytes);

// As parse_page for the page at the beginning of `bytes`, which may hold more pages after it; the result's bytes are
// that page alone.
Result<PageView> parse_page_prefix(std::span<const std::byte> bytes);

// parse_page and the checksum over everything but itself: for pages that come from disk.
Result<PageView> verify_page(std::span<const std::byte> bytes);

// kInvalidArgument when a page with this tag and meta cannot exist or does not take exactly `size` bytes.
Status check_page(const CodecTag& codec, const PageMeta& meta, size_t size);

// Where a codec writes the sections of one KV head. Scales, offsets and mean are null when the page has none.
struct PageSections {
  uint8_t* k = nullptr;
  uint8_t* k_scale = nullptr;
  uint16_t* k_offset = nullptr;
  uint16_t* k_mean = nullptr;
  uint8_t* v = nullptr;
  uint8_t* v_scale = nullptr;
  uint16_t* v_offset = nullptr;
};

// page.size() must be page_bytes() of the same tag and meta, both accepted by check_page().
PageSections page_sections(const CodecTag& codec, const PageMeta& meta, int head, std::span<std::byte> page);

// Fills in the header of a page whose payload is complete, checksum included. Padding must be zero.
void write_page_header(const CodecTag& codec, const PageMeta& meta, std::span<std::byte> page);

}  // namespace recalld::quant
