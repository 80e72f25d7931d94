// What block-wise reading under a policy leaves: a view that questions are asked against, and the counts it is
// compared by.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cache/chunk.h"
#include "cache/sequence.h"

namespace recalld::episodes {

struct PolicyCache {
  std::string policy;
  // Kept entries where they were rotated; Sequence::set_view makes the next token stand at position n_tokens.
  cache::View view;
  int32_t n_tokens = 0;  // of the history
  // Positions of the kept entries, ascending: [layer][head].
  std::vector<std::vector<std::vector<int32_t>>> positions;
  // Tokens that went through the model, scoring passes included.
  int64_t build_tokens = 0;
  // The most entries held at once, block and scoring text included, summed over the heads of the layers without a
  // sliding window.
  int64_t peak_entries = 0;

  // Bytes of the pages, headers and padding included.
  size_t bytes() const { return view.bytes(); }
  // Entries kept, summed over heads of all layers.
  int64_t n_entries() const;
  // Entries of one layer, averaged over its heads.
  double entries_per_head(int layer) const;
};

// The same entries coded by another plan, page by page. The codecs' maps must be the same for all heads of a layer.
Result<PolicyCache> recode(const PolicyCache& cache, const cache::CodecPlan& plan, cache::MemoryPool& pool);

// The same entries moved together: in every head the newest kept entry stands right before the query, the others before
// it without gaps, keys re-rotated and rounded to 16 bits again. The query begins where the longest head ends. This is
// the position rule of StreamingLLM's paper, applied to any policy when the question comes.
Result<PolicyCache> compacted(const PolicyCache& cache, const cache::CacheShape& shape, cache::MemoryPool& pool);

// Share of the history's tokens [first, last) that was kept, averaged over the heads of the layers that evict (all
// layers when none does): evidence survival.
double survival(const PolicyCache& cache, const cache::CacheShape& shape, int32_t first, int32_t last);

}  // namespace recalld::episodes
