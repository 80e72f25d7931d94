// KeyDiff: keeps the keys that are least like the others, by cosine to the mean of the normalised keys of the head.
// Park et al. 2025 (arXiv 2504.15364), section 3. Looks at no queries. Keys are those of the cache, after RoPE.
#pragma once

#include <memory>

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

std::unique_ptr<EvictionPolicy> make_keydiff();

}  // namespace recalld::episodes
