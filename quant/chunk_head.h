// The beginning of a chunk on disk, in whichever form (quant/rest.h, quant/archive.h): what both heads hold is written
// and checked here. A Head is what stands there byte for byte, and has magic, version, reserved, checksum (of
// everything after it), then resident_bytes, n_pages and what its form adds.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "quant/page.h"
#include "quant/rest.h"

namespace recalld::quant {

// The head and what follows it, its checksum filled in.
template <class Head>
std::vector<std::byte> with_head(Head head, std::span<const std::byte> body) {
  std::vector<std::byte> out(sizeof head + body.size());
  std::memcpy(out.data(), &head, sizeof head);
  if (!body.empty()) std::memcpy(out.data() + sizeof head, body.data(), body.size());
  head.checksum = checksum64(std::span<const std::byte>(out).subspan(offsetof(Head, resident_bytes)));
  std::memcpy(out.data(), &head, sizeof head);
  return out;
}

// kCorrupt names what is wrong with the parts that all heads have.
template <class Head>
Result<Head> read_head(std::span<const std::byte> bytes, uint32_t magic, uint16_t version) {
  Head head;
  if (bytes.size() < sizeof head) return corrupt("size " + std::to_string(bytes.size()) + " is less than a header");
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.magic != magic) return corrupt("magic is " + std::to_string(head.magic));
  if (head.version != version || head.reserved != 0)
    return corrupt("version is " + std::to_string(head.version) + ", expected " + std::to_string(version));
  if (head.checksum != checksum64(bytes.subspan(offsetof(Head, resident_bytes))))
    return corrupt("its bytes do not match its checksum");
  if (head.resident_bytes > kMaxResidentBytes)
    return corrupt("it claims pages of " + std::to_string(head.resident_bytes) + " bytes");
  if (head.n_pages < 1 || head.n_pages > kMaxLayers)
    return corrupt("page count is " + std::to_string(head.n_pages) + ", expected 1..65536");
  return head;
}

}  // namespace recalld::quant
