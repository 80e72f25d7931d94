// What KVzip and EpiCache share: an entry is worth the largest attention that a scoring text gives it.
#pragma once

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

// keep = the observed weights, as they are.
void keep_by_weight(const LayerEntries& entries, LayerScores& scores);

}  // namespace recalld::episodes
