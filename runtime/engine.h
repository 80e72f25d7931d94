// Runs a model over sequences: tokens in, logits or states out, keys and values into each sequence's cache.
//
// The forward pass is our own graph on ggml (runtime/graph.h); attention is the cache's. Graphs are kept and reused for
// shapes seen lately: decoding one token changes inputs only.
//
// Threads: one owner thread. The engine has its own compute threads, which sleep between steps.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/sequence.h"
#include "runtime/model.h"

namespace recalld::runtime {

struct EngineOptions {
  int threads = 1;
  // Tokens that go through the graph at once; a longer step is cut into pieces of this size. Bounds the memory of
  // activations, changes no result but rounding.
  int ubatch = 512;
  // Highest view position + 1 that a step may reach; 0 for the model's window.
  int32_t context = 0;
};

enum class Outputs {
  kNone,  // keys and values only: the last layer's second half and the output matrix are skipped
  kLast,
  kAll,  // of every token: a megabyte each where the vocabulary has 262,144; read long texts in pieces
};

struct StepRequest {
  cache::Sequence* sequence = nullptr;
  std::span<const int32_t> tokens;  // at view positions sequence->length() onwards
  Outputs outputs = Outputs::kLast;
  // What the outputs are; at least one of them unless outputs is kNone.
  std::vector<float>* logits = nullptr;  // receives [n_outputs][n_vocab]
  std::vector<float>* hidden = nullptr;  // receives [n_outputs][n_embd]: states after the final norm
};

class Engine {
 public:
  // kInvalidArgument for options out of range.
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Model> model, const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const Model& model() const;
  const EngineOptions& options() const;
  // Highest view position + 1 that a step may reach.
  int32_t context() const;

  // Reads all requests' tokens, batched together; each sequence at most once. On success every sequence is longer by
  // its tokens. On any failure every sequence is as long as before and outputs are unspecified:
  //   kInvalidArgument  no tokens, a token outside the vocabulary, a sequence twice or of another model's shape
  //   kTooLarge         a position would reach context()
  //   kResourceExhausted the cache's memory limit
  //   kCancelled        *cancel became true; looked at between the operations of the graph, a few milliseconds apart
  Status step(std::span<const StepRequest> requests, const std::atomic<bool>* cancel = nullptr);

  // Bytes of activations and graphs held now.
  size_t compute_bytes() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::runtime
