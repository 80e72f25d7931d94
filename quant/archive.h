// Archives: a chunk of 16-bit pages (all layers of one token range, as in quant/rest.h) near the fewest bytes that its
// rows can be kept in at a given error. Lossy, unlike quant/rest.h; made from 16-bit pages when they are written, not
// from coded ones, whose errors would add up.
//
// Trellis-coded quantization (quant/trellis.h) with a step for each head's keys and values, entropy coded given what
// the dim's numbers were in the tokens before (quant/expectation.h). At the error of the 4-bit Lloyd-Max quantizer,
// .0095 of the energy, Gaussian rows take 3.44 bits per number, everything counted; the least possible is 3.36, the
// Lloyd-Max codes themselves take 4. The bytes and figures: docs/archive-format.md.
//
// Pure functions; any thread. Encoding takes some 20 bytes of memory for each number.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "kernels/rope.h"
#include "quant/page.h"

namespace recalld::quant {

// Mean squared error of the 4-bit Lloyd-Max quantizer on N(0,1).
inline constexpr double kLloydMax4Error = 0.009501;

struct ArchiveOptions {
  // Aimed at, in the mean over the tokens: squared error of keys over the energy about their mean in the page, of
  // values over their energy. 1e-6 to 0.5. What comes out is within 1 % of it.
  double key_error = 0.99 * kLloydMax4Error, value_error = 0.99 * kLloydMax4Error;
  // How keys were rotated, when known: keys turned back are more alike. It stands in the archive.
  std::optional<kernels::RopeSpec> rope;
};

// "archive-4", "archive-3", "archive-2": the options of that name, which aim just below the error of the Lloyd-Max
// quantizer of as many bits (Max, "Quantizing for Minimum Distortion", 1960, table I). kInvalidArgument for any other.
Result<ArchiveOptions> archive_options(std::string_view name);

// pages: one or more valid pages of none16, 64-byte aligned; 512 MiB at most. Equal pages and options give equal bytes.
// NaN and infinities count as 0, and a vector shorter than 1e-15 comes back as zeros.
// kCorrupt as parse_page; kInvalidArgument for pages of another codec and for errors or a rope out of range.
Result<std::vector<std::byte>> encode_archive(std::span<const std::byte> pages, const ArchiveOptions& options = {});

// Whether the bytes begin like an archive, and not like another form of a chunk at rest.
bool is_archive(std::span<const std::byte> bytes);

// What the beginning of an archive says; the checksum over all its bytes has been verified.
struct ArchiveInfo {
  size_t resident_bytes = 0;  // of the 16-bit pages
  int n_pages = 0;
};
// kCorrupt, naming what is wrong, when the bytes are not what encode_archive returned.
Result<ArchiveInfo> inspect_archive(std::span<const std::byte> archive);

// The pages of none16, with the headers that they had, into `pages`, which has resident_bytes and is 64-byte aligned.
// Deterministic. kCorrupt names what is wrong; `pages` then holds anything. Neither reads nor writes out of bounds,
// whatever the bytes. Pages of another codec: cache::recode_chunk makes them of these.
Status decode_archive(std::span<const std::byte> archive, std::span<std::byte> pages);

}  // namespace recalld::quant
