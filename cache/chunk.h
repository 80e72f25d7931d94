// A chunk: the pages of all layers for one range of trunk tokens, one after another in one buffer. The unit that is
// frozen, stored and loaded at once; its bytes are the payload of one row of kv.db.
#pragma once

#include <memory>
#include <vector>

#include "cache/memory_pool.h"
#include "cache/view.h"

namespace recalld::cache {

struct Chunk {
  std::shared_ptr<const PooledBuffer> buffer;
  std::vector<PagePtr> pages;  // in buffer order; each shares ownership of the buffer

  int64_t token_start() const { return pages.empty() ? 0 : pages.front()->meta().token_start; }
  int32_t n_tokens() const { return pages.empty() ? 0 : pages.front()->meta().n_tokens; }
};

using ChunkPtr = std::shared_ptr<const Chunk>;

// Takes a loaded buffer apart: every page is verified (checksum, ranges) and must carry `fingerprint`, and the pages
// must fill the buffer. kCorrupt names what is wrong; kFailedPrecondition when only the fingerprint differs (other
// model, settings or codec): both mean that the chunk is a miss.
Result<ChunkPtr> open_chunk(PooledBuffer buffer, const Digest128& fingerprint);

}  // namespace recalld::cache
