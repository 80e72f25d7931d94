// How much each layer's keys change when tokens see only the first and the newest tokens instead of everything: a
// property of the model, measured once on a calibration text. EpiCache (arXiv 2509.17396), layer-wise allocation:
//   s_l = 1 - sigma_l,  sigma_l = mean over KV heads and tokens of cos(key under the full mask, key under the block
//   mask).
// The block mask: a token sees its own block, the sinks, and the last tokens before its block.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine.h"

namespace recalld::episodes {

struct SensitivityOptions {
  int32_t block_tokens = 1024;
  int32_t sinks = 32;
  int32_t recent_tokens = 512;
  int32_t max_tokens = 4096;  // of the text; at least two blocks are needed for a measurement
};

struct LayerSensitivity {
  std::vector<float> s;                   // [n_layers]; 0 for layers with a sliding window
  std::vector<std::vector<float>> sigma;  // [block][n_layers]; block 0 sees everything either way: 1
};

// Two passes over the text. kInvalidArgument when it is shorter than two blocks or passes the model's window. Not
// thread-safe: uses the engine.
Result<LayerSensitivity> measure_sensitivity(runtime::Engine& engine, const std::shared_ptr<cache::MemoryPool>& pool,
                                             std::span<const int32_t> text, const SensitivityOptions& options = {});

// The s_l of this model, text and options from a file of `folder`, or measured now and written there. A file that does
// not parse is measured anew. Errors of measure_sensitivity, and kUnavailable when the file cannot be written.
Result<std::vector<float>> cached_sensitivity(const std::string& folder, runtime::Engine& engine,
                                              const std::shared_ptr<cache::MemoryPool>& pool,
                                              std::span<const int32_t> text, const SensitivityOptions& options = {});

}  // namespace recalld::episodes
