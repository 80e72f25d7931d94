// Headers of pages by their offsets (docs/page-format.md): what a fuzzer puts right after it changed a page.
#pragma once

#include <cstring>
#include <optional>
#include <span>

#include "quant/codec.h"
#include "tests/fuzz/targets.h"

namespace recalld::testing {

inline constexpr size_t kPageSizeOffset = 52, kPageChecksumOffset = 88;
// Larger pages are not made: their formats are no other, and their reading takes longer.
inline constexpr size_t kMaxFuzzedPage = 1216;

// The size that a page with this header has; nothing when no page has this header.
std::optional<size_t> size_of_page(std::span<const std::byte> header);

// page: a header at least.
void fix_page_checksum(std::span<std::byte> page);

// Of what a decoder gave back: every byte belongs to a valid page, or it throws.
int count_pages(std::span<const std::byte> pages);

// A codec's tag, or one of any formats.
quant::CodecTag random_tag(Random& random, int head_dim);
// Of a small page.
quant::PageMeta random_meta(Random& random);

// Pages of every codec, and of formats that no codec uses.
std::vector<Bytes> pages_of_every_codec();

// Of the calibration that the pages' calibrated codecs are made from: head_dim and KV heads.
inline constexpr int kCalibratedDim = 32, kCalibratedHeads = 1;
// The codecs that wrote pages with this tag: the one made for it, or calibrated ones of both layers, of which one at
// most takes a page.
std::vector<std::shared_ptr<const quant::Codec>> codecs_of(const quant::CodecTag& tag);

}  // namespace recalld::testing
