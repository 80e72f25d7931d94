// Chunks as quant/rest.h and quant/archive.h take them, and their bytes mended after a change.
#pragma once

#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "quant/codec.h"

namespace recalld::testing {

// Of a page in the middle of a trunk.
inline quant::PageMeta chunk_meta(int n_tokens, int n_kv_heads, int head_dim) {
  quant::PageMeta meta;
  meta.n_kv_heads = n_kv_heads;
  meta.head_dim = head_dim;
  meta.n_tokens = n_tokens;
  meta.rope_start = 17;
  meta.token_start = 123'456;
  meta.fingerprint = {3, 4};
  return meta;
}

// One page for each of `codecs`, of consecutive layers from meta.layer on, one after another. rows(i): keys and values
// of the i-th, [n_tokens][n_kv_heads][head_dim].
template <class RowsOf>
AlignedBuffer chunk_of(const std::vector<std::shared_ptr<const quant::Codec>>& codecs, quant::PageMeta meta,
                       const RowsOf& rows) {
  size_t size = 0;
  for (const auto& codec : codecs) size += codec->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
  AlignedBuffer chunk(size);
  std::span<std::byte> left = chunk.span();
  for (size_t i = 0; i < codecs.size(); ++i, ++meta.layer) {
    const size_t page = codecs[i]->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
    const std::pair<std::vector<float>, std::vector<float>> sides = rows(i);
    const Status status = codecs[i]->encode_page(meta, sides.first.data(), sides.second.data(), left.first(page));
    if (!status.ok()) throw std::logic_error("a page of a test is refused: " + status.to_string());
    left = left.subspan(page);
  }
  return chunk;
}

// Puts the checksum right that both forms have in the same place. bytes: a head at least.
inline void fix_chunk_checksum(std::span<std::byte> bytes) {
  constexpr size_t kChecksum = 8, kChecksummed = 16;
  const uint64_t checksum = checksum64(bytes.subspan(kChecksummed));
  std::memcpy(bytes.data() + kChecksum, &checksum, sizeof checksum);
}

}  // namespace recalld::testing
