// StreamingLLM: the first tokens (attention sinks) and the newest. Xiao et al. 2023 (arXiv 2309.17453).
//
// The paper gives kept entries the positions of their place in the cache; here they keep their original ones, as all
// policies do and as the comparison in EpiCache has it. compacted() (policy_cache.h) moves them when the question
// comes.
#pragma once

#include <memory>

#include "episodes/policies/eviction_policy.h"

namespace recalld::episodes {

struct StreamingLlmOptions {
  int32_t sinks = 4;  // section 3.2; EpiCache compares with 128
};

std::unique_ptr<EvictionPolicy> make_streamingllm(const StreamingLlmOptions& options = {});

}  // namespace recalld::episodes
