// Which keys of a tile a query sees, and which queries of a block see a tile at all. Shared by all implementations.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace recalld::kernels {

// Keys are taken in tiles of this many, counted from the first token of each page. The order of every sum over keys
// follows from it.
inline constexpr int kTileTokens = 64;

// [first, last) of `n` keys at view positions start, start + 1, ... that a query at `position` sees; empty as {0, 0}.
inline std::pair<int, int> visible_keys(int64_t start, int n, int64_t position, int window) {
  const int64_t last = std::min<int64_t>(n, position - start + 1);
  const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1 - start) : 0;
  if (first >= last) return {0, 0};
  return {static_cast<int>(first), static_cast<int>(last)};
}

// [first, last) of the tokens, at ascending positions, that see any of the keys start .. start + n - 1.
inline std::pair<int, int> seeing_tokens(const int32_t* positions, int n_tokens, int64_t start, int n, int window) {
  const int32_t* first = std::lower_bound(positions, positions + n_tokens, start);
  const int32_t* last = positions + n_tokens;
  if (window > 0) last = std::lower_bound(first, last, start + n - 1 + window);
  return {static_cast<int>(first - positions), static_cast<int>(last - positions)};
}

}  // namespace recalld::kernels
