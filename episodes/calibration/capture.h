// Queries, keys and values of a text, as a model's attention sees them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/engine.h"

namespace recalld::episodes {

struct LayerCapture {
  std::vector<float> q;     // [n_tokens][n_heads][head_dim], rotated
  std::vector<float> k, v;  // [n_tokens][n_kv_heads][head_dim], keys rotated; through 16 bits, as the cache has them
};

struct Capture {
  int32_t n_tokens = 0;
  std::vector<LayerCapture> layers;
};

// Reads tokens, from position 0, with nothing coded. Memory: n_tokens times 4 bytes for every number of Q, K and V.
// on_token(n): after each block, tokens read so far. Errors as Engine::step.
Result<Capture> capture(runtime::Engine& engine, std::span<const int32_t> tokens,
                        const std::function<void(int32_t)>& on_token);

}  // namespace recalld::episodes
