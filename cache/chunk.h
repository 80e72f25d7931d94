// A chunk: the pages of all layers for one range of trunk tokens, one after another in one buffer. The unit that is
// frozen, stored and loaded at once; at rest, in kv.db, it has fewer bytes (quant/rest.h, or quant/archive.h).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cache/memory_pool.h"
#include "cache/shape.h"
#include "cache/view.h"

namespace recalld::cache {

struct Chunk {
  std::shared_ptr<const PooledBuffer> buffer;
  std::vector<PagePtr> pages;                   // in buffer order; each shares ownership of the buffer
  std::shared_ptr<const PooledBuffer> archive;  // that the pages' rows came out of; null: none

  int64_t token_start() const { return pages.empty() ? 0 : pages.front()->meta().token_start; }
  int32_t n_tokens() const { return pages.empty() ? 0 : pages.front()->meta().n_tokens; }
};

using ChunkPtr = std::shared_ptr<const Chunk>;

// Takes a loaded buffer apart: every page is verified (checksum, ranges) and must carry `fingerprint`, and the pages
// must fill the buffer. kCorrupt names what is wrong; kFailedPrecondition when only the fingerprint differs (other
// model, settings or codec): both mean that the chunk is a miss. Pages get the plan's codec of their layer where it
// wrote them, and else the one of their tag.
Result<ChunkPtr> open_chunk(PooledBuffer buffer, const Digest128& fingerprint, const CodecPlan& plan = {});

// kCorrupt, naming the page, unless the chunk has one page for each layer of the model, in their order and with their
// heads, all of the same tokens: what open_chunk does not know of.
Status check_chunk(const CacheShape& shape, const Chunk& chunk);

// The chunk's bytes at rest: its archive, where it has one. Errors as quant::encode_rest.
Result<std::vector<std::byte>> pack_chunk(const Chunk& chunk);

// The chunk that pack_chunk made `packed` of, in new memory of the pool. Pages out of an archive are coded by the plan
// anew, to the same bytes; without a plan they have 16 bits. Errors as open_chunk, and kResourceExhausted when the pool
// has no room.
Result<ChunkPtr> unpack_chunk(std::span<const std::byte> packed, const Digest128& fingerprint, MemoryPool& pool,
                              const CodecPlan& plan = {});

// What of K and V a page is made from: fills k and v, [n_tokens][n_kv_heads][head_dim] f32 of one layer.
using RowReader = std::function<Status(int layer, float* k, float* v)>;

// One page per layer of `shape`, coded by the plan, in one new buffer. meta.layer, n_kv_heads and head_dim are set from
// the shape, the rest of meta is taken as it is. An archive of the plan takes milliseconds of a core for each token.
Result<ChunkPtr> encode_chunk(const CacheShape& shape, const CodecPlan& plan, quant::PageMeta meta,
                              const RowReader& rows, MemoryPool& pool);

// The same tokens coded by another plan: decode, then encode. From 16-bit pages this gives the very bytes that coding
// the rows at once would have given.
Result<ChunkPtr> recode_chunk(const CacheShape& shape, const Chunk& chunk, const CodecPlan& plan, MemoryPool& pool);

}  // namespace recalld::cache
