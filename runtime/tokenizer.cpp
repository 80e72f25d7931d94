#include "runtime/tokenizer.h"

#include <llama.h>

#include <algorithm>

#include "runtime/utf8_stream.h"
#include "runtime/vocabulary.h"

namespace recalld::runtime {
namespace {

// The special token that `text` begins with, or nullptr.
const std::pair<std::string, int32_t>* special_at(const std::vector<std::pair<std::string, int32_t>>& specials,
                                                  std::string_view text) {
  for (const auto& special : specials) {
    if (text.starts_with(special.first)) return &special;
  }
  return nullptr;
}

}  // namespace

Tokenizer::Tokenizer(std::shared_ptr<const Model> model) : model_(std::move(model)) {
  const llama_vocab* vocab = model_->vocab();
  for (int32_t token = 0; token < n_vocab(); ++token) {
    const char* text = llama_vocab_get_text(vocab, token);
    const bool is_special =
        (llama_vocab_get_attr(vocab, token) & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
    if (is_special && *text != '\0') specials_.emplace_back(text, token);
  }
  std::stable_sort(specials_.begin(), specials_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
}

void Tokenizer::append_plain(std::string_view text, std::vector<int32_t>* tokens) const {
  if (!text.empty()) append_tokens(model_->vocab(), text, false, tokens);
}

std::vector<int32_t> Tokenizer::tokenize(std::string_view text) const {
  std::vector<int32_t> tokens;
  append_plain(text, &tokens);
  return tokens;
}

std::vector<int32_t> Tokenizer::tokenize(std::span<const TextSegment> segments) const {
  std::vector<int32_t> tokens;
  std::string plain;
  for (const TextSegment& segment : segments) {
    if (!segment.is_markup) {
      plain += segment.text;
      continue;
    }
    for (size_t i = 0; i < segment.text.size();) {
      const auto* special = special_at(specials_, std::string_view(segment.text).substr(i));
      if (special == nullptr) {
        plain += segment.text[i++];
        continue;
      }
      append_plain(plain, &tokens);
      plain.clear();
      tokens.push_back(special->second);
      i += special->first.size();
    }
  }
  append_plain(plain, &tokens);
  return tokens;
}

std::vector<int32_t> Tokenizer::prompt_start() const {
  const llama_vocab* vocab = model_->vocab();
  const llama_token bos = llama_vocab_bos(vocab);
  if (!llama_vocab_get_add_bos(vocab) || bos < 0) return {};
  return {bos};
}

std::string Tokenizer::piece(int32_t token, bool special) const {
  if (token < 0 || token >= n_vocab()) return {};
  std::string text(64, '\0');
  const auto run = [&] {
    return llama_token_to_piece(model_->vocab(), token, text.data(), static_cast<int32_t>(text.size()), 0, special);
  };
  int32_t n = run();
  if (n < 0) {
    text.resize(static_cast<size_t>(-n));
    n = run();
  }
  text.resize(static_cast<size_t>(std::max(n, 0)));
  return text;
}

std::string Tokenizer::detokenize(std::span<const int32_t> tokens, bool special) const {
  Utf8Stream stream;
  std::string text;
  for (const int32_t token : tokens) text += stream.push(piece(token, special));
  return text + stream.finish();
}

bool Tokenizer::is_end(int32_t token) const { return llama_vocab_is_eog(model_->vocab(), token); }

int32_t Tokenizer::n_vocab() const { return model_->info().n_vocab; }

}  // namespace recalld::runtime
