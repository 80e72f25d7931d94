#include "retrieval/fit_view.h"

#include <algorithm>
#include <cstdint>

namespace recalld::retrieval {
namespace {

std::vector<size_t> segments_within(std::span<const PageGroup> groups, size_t first) {
  const auto reaches_back = [&](int32_t segment) {
    for (size_t i = first; i > 0 && groups[i - 1].segment == segment; --i)
      if (!groups[i - 1].date && !groups[i - 1].pinned) return true;
    return false;
  };
  std::vector<size_t> segments;
  for (size_t i = first; i < groups.size(); ++i)
    if (groups[i].segment >= 0 && !groups[i].date && !reaches_back(groups[i].segment))
      segments.push_back(static_cast<size_t>(groups[i].segment));
  return segments;
}

}  // namespace

Result<FittedView> fit_view(const Ranking& ranking, std::span<const Segment> segments,
                            std::span<const PageGroup> groups, size_t recent, SelectOptions options) {
  int64_t given = 0;  // tokens that every view has
  for (size_t i = 0; i < groups.size(); ++i)
    if (i >= recent || groups[i].pinned) given += groups[i].n_tokens;
  const int64_t most = std::max<int64_t>(0, options.max_tokens);
  const std::vector<size_t> taken = segments_within(groups, recent);
  // Date lines come on top of the segments that they belong to: less of these until all of it fits.
  for (options.max_tokens = most;;) {
    FittedView fitted;
    RECALLD_ASSIGN_OR_RETURN(fitted.choice, select(ranking, segments, options, taken));
    std::vector<int32_t> chosen;
    for (const RankedSegment& ranked : fitted.choice.segments) chosen.push_back(static_cast<int32_t>(ranked.segment));
    fitted.groups = view_groups_for(groups, chosen, recent);
    const int64_t over = tokens_of(groups, fitted.groups) - given - most;
    if (over <= 0 || options.max_tokens == 0) return fitted;
    options.max_tokens = std::max<int64_t>(0, fitted.choice.n_tokens - over);
  }
}

}  // namespace recalld::retrieval
