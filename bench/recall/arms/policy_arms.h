// Published eviction policies (episodes/policies), each reading the history block by block: what is kept stays in 16
// bits at its original positions, and every question sees the same.
#pragma once

#include <string>
#include <vector>

#include "bench/recall/arms/arm.h"
#include "episodes/policies/policy_cache.h"

namespace recalld::bench {

// "streamingllm" (see streaming_arm.h), "h2o", "snapkv", "kvzip", "keydiff". budget: entries per KV head.
std::unique_ptr<Arm> make_policy_arm(const std::string& name, int budget);

// Share of the evidence's tokens that a policy kept, over layers and heads.
double evidence_kept(const episodes::PolicyCache& cache, const cache::CacheShape& shape,
                     const std::vector<TokenRange>& evidence);

struct EpiCacheArmOptions {
  int episodes = 4;             // 1: one prompt for the whole history
  int segments_per_prompt = 8;  // the closest to the centroid
  std::string encoder;          // GGUF
  std::string calibration;      // text that the layers' budgets are measured on; "" for the same in all
  std::string folder;           // where measured budgets are kept
};

// Holds `episodes` caches of `budget` entries per KV head; a question sees the one whose centroid is nearest.
std::unique_ptr<Arm> make_epicache_arm(const std::string& name, int budget, const EpiCacheArmOptions& options);

}  // namespace recalld::bench
