// How much of a question's evidence a view holds.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "bench/recall/history.h"
#include "cache/view.h"

namespace recalld::bench {

// Share of the evidence's tokens that the view's pages hold, mean over layers. Pages hold all heads of their layer and
// the consecutive tokens that their headers name.
double share_in_view(const cache::View& view, std::span<const TokenRange> evidence);

// Share of the evidence's tokens inside `ranges`.
double share_in_ranges(std::span<const TokenRange> ranges, std::span<const TokenRange> evidence);

// Tokens that a KV head sees, mean over all heads of all layers, rounded.
int64_t mean_tokens(const cache::View& view);

}  // namespace recalld::bench
