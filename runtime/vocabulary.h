// The vocabulary of a model, held by libllama.
//
// libllama sees none of the file but the tokenizer's keys, after they have been checked here: it aborts on some
// contradictions that a damaged file can hold.
#pragma once

#include <memory>

#include "base/status.h"
#include "runtime/gguf_file.h"

struct llama_model;
struct llama_vocab;

namespace recalld::runtime {

// Immutable; any thread.
class Vocabulary {
 public:
  // kCorrupt for keys that are missing or contradict each other, kUnsupported for a kind of tokenizer other than
  // byte-level BPE ("gpt2") and SentencePiece ("llama").
  static Result<std::unique_ptr<Vocabulary>> load(const GgufFile& file);

  const llama_vocab* get() const { return vocab_; }
  int32_t size() const { return size_; }

 private:
  struct Free {
    void operator()(llama_model* model) const;
  };
  Vocabulary() = default;

  std::unique_ptr<llama_model, Free> model_;
  const llama_vocab* vocab_ = nullptr;
  int32_t size_ = 0;
};

}  // namespace recalld::runtime
