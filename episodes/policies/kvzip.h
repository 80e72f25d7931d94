// KVzip, block by block: after each block the model is asked to repeat it; an entry is worth the largest attention that
// the repetition gives it. Kim et al. 2025 (arXiv 2505.23416), section 3: softmax over history and repetition, maximum
// over tokens and the group's query heads; heads of a layer share one budget. The paper compresses once, over a whole
// context; block by block is how it is compared in EpiCache.
#pragma once

#include <memory>
#include <string_view>

#include "episodes/policies/eviction_policy.h"
#include "runtime/tokenizer.h"

namespace recalld::episodes {

inline constexpr std::string_view kRepeatInstruction = "\n\nWrite the text above once more, word for word:\n";

struct KvzipOptions {
  std::vector<int32_t> instruction;  // tokens before the block's text: of kRepeatInstruction, or in a chat template
  bool own_keys = true;              // of the repetition in the softmax
  Selection selection = Selection::kAcrossHeads;
};

std::unique_ptr<EvictionPolicy> make_kvzip(KvzipOptions options);

}  // namespace recalld::episodes
