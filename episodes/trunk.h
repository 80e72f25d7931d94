// A session's trunk: the one stream of KV entries that reading its transcript gives, block by block.
//
// What a token sees while it is read depends on its place in the stream and on the options, never on when it arrived:
// reading never crosses a multiple of block_tokens in one step, and pages are made only there. So a transcript read at
// once, turn by turn, or again after a loss gives the same entries (up to the rounding of matrix products, whose order
// of additions may depend on how many tokens are multiplied together).
//
// At each block boundary all rows become pages on the grid 0, pinned_tokens, page_tokens, 2 page_tokens, ...; those
// that ended recent_tokens ago or earlier are coded by the plan, the younger and the pinned ones stay in 16 bits.
// While the stream fits view_tokens every page is at its own position; beyond that, blocks are read with the pinned
// and the newest pages at compact positions, so positions stay inside the model's window and memory is bounded by
// view + block.
//
// Not thread-safe: one owner thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/sequence.h"
#include "retrieval/compose.h"
#include "runtime/engine.h"

namespace recalld::episodes {

struct TrunkOptions {
  int32_t block_tokens = 256;  // a multiple of page_tokens
  int32_t page_tokens = 128;   // 16..kMaxPageTokens
  int32_t recent_tokens = 128;
  int32_t pinned_tokens = 16;  // less than page_tokens; 0 for none
  int32_t view_tokens = 4096;  // of pages seen while reading; at least 2 blocks
  cache::CodecPlan plan;
  Digest128 fingerprint;  // of model, format, plan and these numbers: see trunk_fingerprint
};

// kInvalidArgument, naming the number and its range.
Status check_trunk_options(const TrunkOptions& options);

// What pages of a trunk depend on besides the transcript.
Digest128 trunk_fingerprint(const Digest128& model, const std::string& format_version, const TrunkOptions& options);

class Trunk {
 public:
  Trunk(const cache::CacheShape& shape, const std::shared_ptr<cache::MemoryPool>& pool, TrunkOptions options);

  int64_t n_tokens() const { return n_tokens_; }
  const TrunkOptions& options() const { return options_; }

  // How many tokens the next read may have: up to the block boundary.
  int32_t room() const;
  // Reads 1..room() tokens. On error the trunk is as before. kCancelled when *cancel became true.
  Status read(runtime::Engine& engine, std::span<const int32_t> tokens, const std::atomic<bool>* cancel = nullptr);

  // Page groups of [0, n_tokens - tail), in trunk order; a group on disk has a null chunk.
  const std::vector<retrieval::PageGroup>& groups() const { return groups_; }
  // The newest tokens, not in pages yet, as 16-bit page groups that continue groups(). Copies.
  Result<std::vector<retrieval::PageGroup>> tail() const;

  // What changed since the last mark_saved: groups from `first_changed` on are new or coded anew.
  struct Unsaved {
    size_t first_changed = 0;
    std::vector<retrieval::PageGroup> tail;
  };
  Result<Unsaved> unsaved() const;
  void mark_saved();
  bool has_unsaved() const { return unsaved_; }

  // Rebuilds the trunk from what was saved: groups in order (chunks may be null: see `load`), then the tail's chunks.
  // kCorrupt when they do not continue each other.
  Status restore(std::vector<retrieval::PageGroup> groups, const std::vector<cache::ChunkPtr>& tail);

  // Loads a group's chunk when it is first needed. Set before restore() with null chunks.
  using Loader = std::function<Result<cache::ChunkPtr>(size_t group)>;
  void set_loader(Loader loader) { loader_ = std::move(loader); }
  // The chunk of a group, loaded if need be.
  Result<cache::ChunkPtr> load(size_t group);

  // Bytes of pages and rows in memory.
  size_t bytes() const;

 private:
  Status settle();
  Status show_pages();

  const cache::CacheShape& shape_;
  std::shared_ptr<cache::MemoryPool> pool_;
  TrunkOptions options_;
  cache::Sequence sequence_;
  std::vector<retrieval::PageGroup> groups_;
  std::vector<bool> coded_;  // per group
  Loader loader_;
  int64_t n_tokens_ = 0;
  int64_t paged_tokens_ = 0;  // tokens in groups_
  size_t first_changed_ = 0;
  bool unsaved_ = false;
  bool view_stale_ = true;
};

}  // namespace recalld::episodes
