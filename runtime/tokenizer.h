// Text to tokens and back. Immutable; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "runtime/model.h"
#include "runtime/text_segment.h"

namespace recalld::runtime {

class Tokenizer {
 public:
  explicit Tokenizer(std::shared_ptr<const Model> model);

  // Tokens of plain text: strings that spell special tokens stay plain characters. No beginning-of-sequence token.
  std::vector<int32_t> tokenize(std::string_view text) const;
  // Tokens of segments: special tokens are recognised in markup alone; text between two special tokens is tokenized as
  // one piece, whichever segments it comes from.
  std::vector<int32_t> tokenize(std::span<const TextSegment> segments) const;
  // What every prompt must start with: the beginning-of-sequence token, or nothing for models that do without.
  std::vector<int32_t> prompt_start() const;

  // The bytes of one token, which may be a part of a UTF-8 character. Special tokens are empty unless `special`.
  std::string piece(int32_t token, bool special = false) const;
  // The text of tokens as generation would stream it: invalid bytes become U+FFFD.
  std::string detokenize(std::span<const int32_t> tokens, bool special = false) const;

  // True for tokens that end a turn or a text ("<|im_end|>", "<|endoftext|>").
  bool is_end(int32_t token) const;
  int32_t n_vocab() const;

 private:
  void append_plain(std::string_view text, std::vector<int32_t>* tokens) const;

  std::shared_ptr<const Model> model_;
  std::vector<std::pair<std::string, int32_t>> specials_;  // longest first
};

}  // namespace recalld::runtime
