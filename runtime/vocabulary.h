// The vocabulary of a model, held by libllama.
//
// libllama sees none of the file but the tokenizer's keys, after they have been checked here: it aborts on some
// contradictions that a damaged file can hold.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "runtime/gguf_file.h"

struct llama_model;
struct llama_vocab;

namespace recalld::runtime {

// Whether libllama can load the tokenizer's keys without aborting. kinds: the values of tokenizer.ggml.model to let
// pass. kCorrupt for keys that are missing or contradict each other, kUnsupported for another kind.
Status check_vocabulary(const GgufFile& file, std::initializer_list<std::string_view> kinds);

// Adds the tokens of a text, read as plain text: markup in it is no special token. add_special: with those that the
// model puts around a text, which an empty text has too. Exceptions of libllama pass through.
void append_tokens(const llama_vocab* vocab, std::string_view text, bool add_special, std::vector<int32_t>* tokens);

// Immutable; any thread.
class Vocabulary {
 public:
  // As check_vocabulary for byte-level BPE ("gpt2") and SentencePiece ("llama").
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
