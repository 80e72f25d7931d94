// Which KV entries to keep when a history is read block by block under a budget: one class per published policy, so
// that they can be compared. The driver (evicting_prefill.h) reads, shows a policy what it asked to see, and drops what
// it values least.
//
// Positions are the original ones throughout: entry i of the history has position i, kept entries are never moved.
// A policy's calls come from one thread.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "cache/attention_probe.h"

namespace recalld::episodes {

// What of the model's attention a policy wants to see of a block.
struct Observation {
  enum class Source {
    kNothing,
    kBlock,  // the queries of the block itself, while it is read
    kText,   // the queries of `text`, read after the block and forgotten again (a scoring pass)
  };
  Source source = Source::kNothing;
  std::vector<int32_t> text;
  int32_t first_query = 0;  // kBlock: position from which queries count
  // Over query tokens and the query heads of a KV head.
  kernels::WeightReduce reduce = kernels::WeightReduce::kMax;
  // kText: the text's own keys take part in the softmax, causally; else the softmax runs over the history alone.
  bool own_keys = false;
};

// One KV head of a layer: what was kept before, then the block, in order of position.
struct HeadEntries {
  std::span<const int32_t> positions;
  std::span<const float> keys;     // [n][head_dim], rotated
  std::span<const float> values;   // [n][head_dim]
  std::span<const float> weights;  // [n], what was observed; empty when nothing was
  std::span<const float> carried;  // [n], what score() left for these entries at the last block; 0 for new ones
};

struct LayerEntries {
  int32_t layer = 0;
  int32_t head_dim = 0;
  int32_t budget = 0;       // entries per head
  int32_t block_start = 0;  // position of the block's first token
  int32_t end = 0;          // and past its last
  std::vector<HeadEntries> heads;
};

// [head][n], sized by the caller.
struct LayerScores {
  std::vector<std::vector<float>> keep;     // higher is better; kProtected is never dropped within the budget
  std::vector<std::vector<float>> carried;  // zeros unless the policy says otherwise
};

inline constexpr float kProtected = std::numeric_limits<float>::infinity();

enum class Selection {
  kEverything,   // no eviction
  kPerHead,      // each head keeps its `budget` best
  kAcrossHeads,  // the budget * n_heads best over all heads of the layer (Ada-KV, arXiv 2407.11550): heads differ in
                 // length
};

class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  virtual const std::string& name() const = 0;
  virtual Selection selection() const = 0;
  // The smallest budget of a layer that the policy makes sense with.
  virtual int32_t min_budget() const { return 1; }
  // Asked before a block of tokens at positions start, start + 1, ... is read.
  virtual Observation observe(std::span<const int32_t> /*block*/, int32_t /*start*/) { return {}; }
  // True when score() must be called for every block; otherwise only where a layer is over its budget.
  virtual bool scores_every_block() const { return false; }
  // After the block. Never called for layers with a sliding window: those keep their window.
  virtual void score(const LayerEntries& entries, LayerScores& scores) = 0;
};

}  // namespace recalld::episodes
