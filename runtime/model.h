// A language model: weights, shapes and vocabulary. Immutable; any thread.
//
// Weights stay in the mapped file. libllama loads the vocabulary alone; everything else is ours.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "cache/shape.h"
#include "runtime/gguf_file.h"

struct llama_vocab;

namespace recalld::runtime {

class Architecture;
class Vocabulary;
class Weights;
struct Hparams;

struct ModelOptions {
  std::string path;
  GgufOptions file;
};

struct ModelInfo {
  std::string path;
  std::string architecture;  // one of supported_architectures()
  std::string name;          // general.name, or the file name without .gguf
  int32_t n_ctx_train = 0;   // the window: positions the model was trained for
  int32_t n_vocab = 0;
  int32_t n_embd = 0;
  int32_t n_layers = 0;
  size_t file_bytes = 0;
  Digest128 weights;          // of the whole file
  Digest128 tokenizer;        // of the tokenizer's metadata
  std::string chat_template;  // tokenizer.chat_template, "" without one
};

class Model {
 public:
  // Errors of GgufFile::open, and kUnsupported for an architecture, tensor layout or RoPE scaling this build cannot
  // run (naming what it can), kCorrupt for missing tensors or hyperparameters and shapes that do not fit.
  static Result<std::shared_ptr<const Model>> load(const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelInfo& info() const { return info_; }
  const cache::CacheShape& cache_shape() const { return shape_; }
  // For Tokenizer and the samplers.
  const llama_vocab* vocab() const;

  // Of weights, tokenizer, chat template, RoPE settings and the version of our numerics: KV pages made under one
  // fingerprint mean nothing under another. The codec is not in it.
  Digest128 fingerprint() const { return fingerprint_; }

  // For the engine.
  const Hparams& hparams() const { return *hparams_; }
  const Weights& weights() const { return *weights_; }
  const Architecture& architecture() const { return *architecture_; }

 private:
  Model();
  void describe();

  std::shared_ptr<const GgufFile> file_;
  ModelInfo info_;
  cache::CacheShape shape_;
  Digest128 fingerprint_;
  const Architecture* architecture_ = nullptr;
  std::unique_ptr<Hparams> hparams_;
  std::unique_ptr<Weights> weights_;
  std::unique_ptr<Vocabulary> vocabulary_;
};

// "llama, qwen2, qwen3, gemma3": for error messages and documentation.
std::string supported_architectures();

}  // namespace recalld::runtime
