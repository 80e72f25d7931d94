// Tiny models with random weights, written as GGUF files: every family and tensor type without a download.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <string>

#include "base/status.h"

namespace recalld::testing {

struct SyntheticModel {
  // "llama", "qwen2", "qwen3", "gemma3"; any other name is written with llama's tensors
  std::string architecture = "llama";
  int n_layers = 2;
  int n_embd = 64;
  int n_heads = 4;
  int n_kv_heads = 2;
  int head_dim = 16;
  int n_ff = 96;
  int n_ctx = 512;
  ggml_type type = GGML_TYPE_F32;  // of matrices; vectors are F32
  bool tied_output = true;
  float rope_base = 10000.0F;
  float rope_linear_factor = 1.0F;  // 2: positions count half
  bool rope_factors = false;        // rope_freqs.weight, as Llama 3.1 has
  bool add_bos = false;             // a text begins with <|endoftext|>
  // gemma3 alone; 0 leaves a key out.
  int window = 0;
  int window_pattern = 0;      // every nth layer is global
  float window_rope_base = 0;  // of the layers with a window
  float logit_softcap = 0;
  uint32_t seed = 1;
};

// A byte-level BPE vocabulary with few merges and ChatML's special tokens, a ChatML template, and the weights.
// Any text tokenizes and comes back.
Status write_synthetic_gguf(const SyntheticModel& model, const std::string& path);

}  // namespace recalld::testing
