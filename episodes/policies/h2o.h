// H2O: half of the budget for the newest entries, half for the heavy hitters, the entries that have received the most
// attention since they were read. Zhang et al. 2023 (arXiv 2306.14048), section 4 and algorithm 1.
//
// Evicts after each block instead of after each token. With grouped query heads the mass is summed over the group.
#pragma once

#include <memory>

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

struct H2oOptions {
  double recent_share = 0.5;  // of the budget
};

std::unique_ptr<EvictionPolicy> make_h2o(const H2oOptions& options = {});

}  // namespace recalld::episodes
