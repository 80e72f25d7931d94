// From a ranking to a question's view: the best segments that fit, each with the date line that holds for it, beside
// the pinned and the newest pages that every view has.
//
// Pure; any thread.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/status.h"
#include "retrieval/compose.h"
#include "retrieval/segment.h"
#include "retrieval/segment_index.h"
#include "retrieval/select.h"

namespace recalld::retrieval {

struct FittedView {
  std::vector<size_t> groups;  // indices, in view order, as view_groups_for gives them
  Choice choice;               // the segments that the ranking put there
};

// groups: all of a session's, in trunk order; those from `recent` on are the newest. A segment that lies in these
// whole, but for its date line, is not chosen again. options.max_tokens bounds the chosen segments and all date lines
// that come with them and with the newest groups, together; with 0 or less nothing is chosen. Errors as select().
Result<FittedView> fit_view(const Ranking& ranking, std::span<const Segment> segments,
                            std::span<const PageGroup> groups, size_t recent, SelectOptions options);

}  // namespace recalld::retrieval
