// What the cache must know of a model.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/rope.h"

namespace recalld::cache {

struct LayerShape {
  int32_t n_heads = 0;
  int32_t n_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t window = 0;  // sliding window in tokens, 0 for global attention
  float scale = 0;     // of q . k
  std::shared_ptr<const kernels::RopeSpec> rope;
};

struct CacheShape {
  std::vector<LayerShape> layers;

  // K and V of one token in 16 bits, over all layers: the yardstick of every byte count.
  size_t f16_bytes_per_token() const {
    size_t bytes = 0;
    for (const LayerShape& layer : layers) bytes += static_cast<size_t>(layer.n_kv_heads) * layer.head_dim * 4;
    return bytes;
  }
};

}  // namespace recalld::cache
