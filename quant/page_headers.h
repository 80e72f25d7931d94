// Headers of the pages of a chunk, one after another in few bytes: a page that has the header of the one before but for
// the layer, which is the next, takes one byte. A part of quant/rest.h and quant/archive.h.
#pragma once

#include <span>
#include <vector>

#include "quant/page.h"

namespace recalld::quant {

inline constexpr size_t kPageChecksumBytes = sizeof(uint64_t);  // the last of a header

// Appends a page's header, its checksum left out. before: the page before; null for the first.
void append_header(std::vector<std::byte>& headers, const PageView& page, const PageView* before);

// Takes the next header from the beginning of `headers` and fills it in at the beginning of `out`, all but the
// checksum. Returns the page there, whose payload is still to come: it fits into `out`. kCorrupt names what is wrong.
Result<PageView> next_page(std::span<const std::byte>& headers, const PageView* before, std::span<std::byte> out);

}  // namespace recalld::quant
