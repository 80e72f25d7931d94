// What one question attends to: the whole of a short history, and of a longer one the pinned tokens, the segments that
// bear on the question, and the newest tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "daemon/session_memory.h"
#include "retrieval/compose.h"
#include "retrieval/select.h"

namespace recalld::daemon {

struct ViewLimits {
  int64_t room = 0;           // tokens that a view may have at all
  int64_t recall_tokens = 0;  // of segments that the question chooses; 0: everything that there is room for
  int64_t recent_tokens = 0;  // of the newest ones
  retrieval::ViewOrder order = retrieval::ViewOrder::kByTime;
};

// Indices of `groups` (memory.groups()), in view order. A history of no more than recall_tokens + recent_tokens is
// taken as it is. Else the newest groups that recent_tokens hold, and at the least the newest segment; and of all
// others the segments that the ranking puts first. A question for which there is no room beside those gets the newest
// tokens alone. Fills the report: what was chosen, and by what. Runs on the engine thread and embeds the question.
Result<std::vector<size_t>> choose_view(SessionMemory& memory, const std::vector<retrieval::PageGroup>& groups,
                                        const AskedText& asked, const ViewLimits& limits, const Clock& clock,
                                        RecallReport* report);

}  // namespace recalld::daemon
