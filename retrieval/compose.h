// What a question attends to: which page groups of a session, in which order. A view is a list of whole pages, laid out
// without gaps; nothing is copied.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/chunk.h"
#include "cache/view.h"

namespace recalld::retrieval {

// The pages of all layers for one range of trunk tokens.
struct PageGroup {
  int64_t token_start = 0;
  int32_t n_tokens = 0;
  bool pinned = false;    // attention sinks: in every view, first
  cache::ChunkPtr chunk;  // null while it is on disk only
};

// Indices of `groups` for a view of at most max_tokens tokens: all pinned groups, then the newest ones that fit, in
// trunk order. With room for everything this is everything, and the view is the full cache. The pinned groups are
// always taken, even when they alone pass max_tokens.
std::vector<size_t> choose_recent(std::span<const PageGroup> groups, int64_t max_tokens);

// The view that lists the chosen groups in the given order. Every chosen group must be loaded.
cache::View compose(std::span<const PageGroup> groups, std::span<const size_t> chosen, size_t n_layers);

}  // namespace recalld::retrieval
