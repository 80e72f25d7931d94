// What a question attends to: which page groups of a session, in which order. A view is a list of whole pages, laid out
// without gaps; nothing is copied.
//
// Groups lie in trunk order, and each belongs to one segment. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
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
  int32_t segment = -1;   // index of the segment whose tokens these are; -1: not known
  bool date = false;      // a date line, which holds for all segments from its own to the next date line
};

// The groups [first, second) of a segment, by binary search; empty when it has none in `groups`.
std::pair<size_t, size_t> groups_of(std::span<const PageGroup> groups, int32_t segment);

// Where the newest groups begin that together hold at most max_tokens tokens: an index into groups, groups.size() when
// not one fits. Never reaches into the pinned groups.
size_t recent_from(std::span<const PageGroup> groups, int64_t max_tokens);

// Indices of `groups` for a view of at most max_tokens tokens: all pinned groups, then the newest ones that fit, in
// trunk order. With room for everything this is everything, and the view is the full cache. The pinned groups are
// always taken, even when they alone pass max_tokens.
std::vector<size_t> choose_recent(std::span<const PageGroup> groups, int64_t max_tokens);

// Indices of `groups` for a view of chosen segments: all pinned groups, then the groups of `segments` in the given
// order, then the groups from `recent` on in trunk order (see recent_from; the newest rows, that are not paged yet, are
// the last groups and belong to every answer). Before each of these comes the date line that holds for it, unless that
// is in the view already. No group twice: what is recent or pinned stays there. Segments without groups are passed
// over.
std::vector<size_t> view_groups_for(std::span<const PageGroup> groups, std::span<const int32_t> segments,
                                    size_t recent);

// Tokens of the chosen groups together.
int64_t tokens_of(std::span<const PageGroup> groups, std::span<const size_t> chosen);

// The view that lists the chosen groups in the given order. Every chosen group must be loaded.
cache::View compose(std::span<const PageGroup> groups, std::span<const size_t> chosen, size_t n_layers);

}  // namespace recalld::retrieval
