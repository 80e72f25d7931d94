// The entries that a block-wise reading keeps, one layer at a time: taken out of a sequence's pages and rows, and put
// back as pages of single heads. 16-bit numbers go through unchanged.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/sequence.h"

namespace recalld::episodes {

// One KV head: positions ascending, keys and values [n][head_dim].
struct HeadRows {
  std::vector<int32_t> positions;
  std::vector<float> carried;  // [n], EvictionPolicy::score's
  std::vector<float> keys, values;
};

class KeptEntries {
 public:
  // shape outlives the object; pages are drawn from pool and carry the fingerprint.
  static Result<KeptEntries> create(const cache::CacheShape& shape, std::shared_ptr<cache::MemoryPool> pool,
                                    const Digest128& fingerprint);

  const std::vector<int32_t>& positions(size_t layer, size_t head) const { return heads_[layer][head].positions; }
  // Over the heads of one layer.
  int64_t count(size_t layer) const;

  // What is kept of a layer, then the sequence's working rows from position `start` to `end`.
  Result<std::vector<HeadRows>> gather(const cache::Sequence& sequence, int layer, int32_t start, int32_t end) const;

  // Keeps chosen[head] (ascending indices into rows[head]) and returns their pages.
  Result<std::vector<cache::PagePtr>> keep(int layer, std::span<const HeadRows> rows,
                                           const std::vector<std::vector<int32_t>>& chosen);

 private:
  struct Head {
    std::vector<int32_t> positions;
    std::vector<float> carried;
  };
  KeptEntries(const cache::CacheShape& shape, std::shared_ptr<cache::MemoryPool> pool, const Digest128& fingerprint,
              std::shared_ptr<const quant::Codec> codec);

  const cache::CacheShape* shape_;
  std::shared_ptr<cache::MemoryPool> pool_;
  Digest128 fingerprint_;
  std::shared_ptr<const quant::Codec> codec_;  // 16 bits
  std::vector<std::vector<Head>> heads_;       // [layer][head]
};

}  // namespace recalld::episodes
