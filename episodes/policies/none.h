// No eviction: the full cache, read block by block.
#pragma once

#include <memory>

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

std::unique_ptr<EvictionPolicy> make_none();

}  // namespace recalld::episodes
