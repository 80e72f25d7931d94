// Reads a history block by block under a policy: read, score, select, drop; also after the last block. What is held
// never passes the budget plus one block plus the scoring text. Kept entries keep their order, bytes and positions.
//
// Layers with a sliding window take no part: they keep their window.
//
// Not thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "episodes/policies/eviction_policy.h"
#include "episodes/policies/kept_entries.h"
#include "episodes/policies/policy_cache.h"
#include "runtime/engine.h"

namespace recalld::episodes {

struct PrefillOptions {
  int32_t budget = 2048;        // M: entries per KV head
  int32_t block_tokens = 1024;  // B
  // M of each layer (layer_budgets.h); empty for the same M in all. Numbers of windowed layers are not looked at.
  std::vector<int32_t> layer_budgets;
};

class EvictingPrefill {
 public:
  // engine and policy outlive the object. kInvalidArgument for options out of range or below what the policy needs.
  static Result<std::unique_ptr<EvictingPrefill>> create(runtime::Engine& engine,
                                                         std::shared_ptr<cache::MemoryPool> pool,
                                                         EvictionPolicy& policy, const PrefillOptions& options);

  // Reads 1..block_tokens tokens as one block. Errors of Engine::step (kTooLarge: the history, or the scoring text
  // after it, would leave the model's window); the object is of no further use after one.
  Status read_block(std::span<const int32_t> block, const std::atomic<bool>* cancel = nullptr);

  // What was kept so far; shares the pages.
  PolicyCache cache() const;

 private:
  EvictingPrefill(runtime::Engine& engine, EvictionPolicy& policy, PrefillOptions options, KeptEntries kept,
                  std::shared_ptr<cache::MemoryPool> pool);
  const cache::CacheShape& shape() const { return sequence_.shape(); }
  bool evicts(size_t layer) const { return shape().layers[layer].window == 0; }
  int32_t budget(size_t layer) const;
  bool over_budget(size_t layer, int32_t n_new) const;
  void note_peak(int64_t n_new);
  Status step(std::span<const int32_t> tokens, bool observed, const std::atomic<bool>* cancel);
  Result<std::vector<std::vector<int32_t>>> choose(size_t layer, std::vector<HeadRows>& rows, int32_t start,
                                                   const cache::AttentionProbe* probe);

  runtime::Engine& engine_;
  EvictionPolicy& policy_;
  PrefillOptions options_;
  cache::Sequence sequence_;
  KeptEntries kept_;
  int32_t n_tokens_ = 0;
  int64_t build_tokens_ = 0;
  int64_t peak_entries_ = 0;
};

// The whole history, from its first token on.
Result<PolicyCache> evicting_prefill(runtime::Engine& engine, std::shared_ptr<cache::MemoryPool> pool,
                                     std::span<const int32_t> history, EvictionPolicy& policy,
                                     const PrefillOptions& options, const std::atomic<bool>* cancel = nullptr);

}  // namespace recalld::episodes
