// SnapKV, block by block: the last tokens of each block are the observation window; what they attend to, pooled along
// the entries so that neighbours survive together, is kept, and so is the window. Li et al. 2024 (arXiv 2404.14469),
// section 4 and listing 1. With grouped query heads the attention is averaged over the group.
#pragma once

#include <memory>

#include "episodes/policies/eviction_policy.h"
#include "episodes/policies/selection.h"

namespace recalld::episodes {

struct SnapKvOptions {
  int32_t window = 64;
  int32_t pooling_width = 7;  // odd; 1 for no pooling
  Pooling pooling = Pooling::kMax;
  // True: the window's own queries while the block is read, averaged, with their own keys in the softmax, and the
  // window itself is kept. False: as EpiCache's comparison computes it, the window's tokens are read once more after
  // the block, their largest attention to the history alone counts, and nothing is protected.
  bool in_place = true;
};

std::unique_ptr<EvictionPolicy> make_snapkv(const SnapKvOptions& options = {});

}  // namespace recalld::episodes
