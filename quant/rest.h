// Pages at rest: a chunk (the pages of all layers for one token range, one after another) in fewer bytes, and back to
// the very bytes. No padding, one header for pages that differ by their layer alone, and entropy coding of codes,
// scales, means and halves, each in the light of what came before it in the chunk; chunks do not depend on each other.
// The bytes: docs/rest-format.md.
//
// Pure functions; any thread. Encoding takes some 20 bytes of memory for each number.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace recalld::quant {

// A chunk larger than this is refused by both.
inline constexpr size_t kMaxResidentBytes = size_t{512} << 20;

// pages: one or more valid pages (verify_page), 64-byte aligned. What decode_rest makes of the result is compared with
// them before it is returned: pages that would not come back as they are (with padding that is not zero, say) are kept
// as they are. kCorrupt as parse_page.
Result<std::vector<std::byte>> encode_rest(std::span<const std::byte> pages);

// What the beginning of an encoded chunk says; the checksum over all its bytes has been verified.
struct RestInfo {
  size_t resident_bytes = 0;  // of the pages
  int n_pages = 0;
  bool coded = false;  // else the pages stand in it as they are
};
// kCorrupt, naming what is wrong, when the bytes are not what encode_rest returned.
Result<RestInfo> inspect_rest(std::span<const std::byte> encoded);

// The pages, into `pages`, which has resident_bytes and is 64-byte aligned. Verifies the checksum of the encoded bytes
// first and one over the pages' checksums last. kCorrupt names what is wrong; `pages` then holds anything. Neither
// reads nor writes out of bounds, whatever the bytes.
Status decode_rest(std::span<const std::byte> encoded, std::span<std::byte> pages);

}  // namespace recalld::quant
