#include "runtime/vocabulary.h"

#include <ggml-cpp.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <unordered_set>

#include "runtime/llama_log.h"

namespace recalld::runtime {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";
constexpr const char* kTokens = "tokenizer.ggml.tokens";
constexpr int64_t kMaxTokens = 4'000'000;

// As libllama reads it: up to the first NUL.
std::string c_string(std::string_view text) { return std::string(text.substr(0, text.find('\0'))); }

Status damaged(const std::string& what) {
  return corrupt(what + "; the file is damaged or badly converted, download it again");
}

// libllama requires the texts of all tokens to differ.
Status check_tokens(const GgufFile& file) {
  const auto tokens = file.get_strings(kTokens);
  if (!tokens || tokens->empty()) return damaged(std::string(kTokens) + " is missing");
  if (static_cast<int64_t>(tokens->size()) > kMaxTokens) return damaged(std::string(kTokens) + " has too many tokens");
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < tokens->size(); ++i) {
    std::string text = c_string((*tokens)[i]);
    if (text.empty()) text = "[EMPTY_" + std::to_string(i) + "]";
    if (!seen.insert(std::move(text)).second) return damaged("token " + std::to_string(i) + " stands twice");
  }
  return ok_status();
}

Status check_parallel_array(const GgufFile& file, const std::string& key, uint32_t type) {
  const GgufValue* value = file.find(key);
  if (value == nullptr) return ok_status();
  if (!value->is_array || value->type != type || value->count != file.array_size(kTokens)) {
    return damaged(key + " does not match the list of tokens");
  }
  return ok_status();
}

Status check_scores(const GgufFile& file) {
  RECALLD_RETURN_IF_ERROR(check_parallel_array(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32));
  const GgufValue* scores = file.find("tokenizer.ggml.scores");
  if (scores == nullptr) return ok_status();
  for (size_t i = 0; i < scores->count; ++i) {
    float score = 0;
    std::memcpy(&score, scores->bytes.data() + i * sizeof(score), sizeof(score));
    if (!std::isfinite(score)) return damaged("tokenizer.ggml.scores holds values that are not numbers");
  }
  return ok_status();
}

// Tokens of type "byte" must spell "<0x41>": libllama takes them apart unchecked.
Status check_byte_tokens(const GgufFile& file) {
  RECALLD_RETURN_IF_ERROR(check_parallel_array(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32));
  const auto types = file.get_ints("tokenizer.ggml.token_type");
  if (!types) return ok_status();
  const auto tokens = file.get_strings(kTokens);
  for (size_t i = 0; i < types->size(); ++i) {
    const std::string_view text = (*tokens)[i];
    if ((*types)[i] == LLAMA_TOKEN_TYPE_BYTE && (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>')) {
      return damaged("token " + std::to_string(i) + " is of type byte but does not name one");
    }
  }
  return ok_status();
}

void copy_value(const GgufFile& file, const std::string& key, gguf_context* target) {
  const GgufValue& value = *file.find(key);
  if (value.is_array && value.type == GGUF_TYPE_STRING) {
    const auto views = file.get_strings(key);
    std::vector<std::string> texts;
    for (const std::string_view text : *views) texts.push_back(c_string(text));
    std::vector<const char*> pointers;
    for (const std::string& text : texts) pointers.push_back(text.c_str());
    gguf_set_arr_str(target, key.c_str(), pointers.data(), pointers.size());
  } else if (value.is_array) {
    gguf_set_arr_data(target, key.c_str(), static_cast<gguf_type>(value.type), value.bytes.data(), value.count);
  } else if (value.type == GGUF_TYPE_STRING) {
    gguf_set_val_str(target, key.c_str(), c_string(*file.get_string(key)).c_str());
  } else if (value.type == GGUF_TYPE_BOOL) {
    gguf_set_val_bool(target, key.c_str(), *file.get_int(key) != 0);
  } else if (value.type == GGUF_TYPE_UINT32 || value.type == GGUF_TYPE_INT32) {
    gguf_set_val_u32(target, key.c_str(), static_cast<uint32_t>(*file.get_int(key)));
  }
}

}  // namespace

Status check_vocabulary(const GgufFile& file, std::initializer_list<std::string_view> kinds) {
  const auto kind = file.get_string("tokenizer.ggml.model");
  if (!kind) return damaged("tokenizer.ggml.model is missing");
  if (std::find(kinds.begin(), kinds.end(), *kind) == kinds.end()) {
    std::string known;
    for (const std::string_view name : kinds) known += (known.empty() ? "" : ", ") + std::string(name);
    return unsupported("the tokenizer '" + *kind + "' is not supported (these are: " + known + ")");
  }
  RECALLD_RETURN_IF_ERROR(check_tokens(file));
  RECALLD_RETURN_IF_ERROR(check_scores(file));
  RECALLD_RETURN_IF_ERROR(check_byte_tokens(file));
  if (*kind == "gpt2" && !file.get_strings("tokenizer.ggml.merges")) {
    return damaged("tokenizer.ggml.merges is missing");
  }
  return ok_status();
}

void append_tokens(const llama_vocab* vocab, std::string_view text, bool add_special, std::vector<int32_t>* tokens) {
  const size_t start = tokens->size();
  tokens->resize(start + text.size() + 8);
  const auto run = [&] {
    return llama_tokenize(vocab, text.data(), static_cast<int32_t>(text.size()), tokens->data() + start,
                          static_cast<int32_t>(tokens->size() - start), add_special, false);
  };
  int32_t n = run();
  if (n < 0) {
    tokens->resize(start + static_cast<size_t>(-n));
    n = run();
  }
  tokens->resize(start + static_cast<size_t>(std::max(n, 0)));
}

void Vocabulary::Free::operator()(llama_model* model) const { llama_model_free(model); }

Result<std::unique_ptr<Vocabulary>> Vocabulary::load(const GgufFile& file) {
  RECALLD_RETURN_IF_ERROR(check_vocabulary(file, {"gpt2", "llama"}));
  quiet_llama_log();
  take_llama_errors();
  std::unique_ptr<Vocabulary> vocabulary(new Vocabulary());
  try {
    const gguf_context_ptr metadata(gguf_init_empty());
    gguf_set_val_str(metadata.get(), "general.architecture", "llama");
    for (const std::string& key : file.keys()) {
      if (key.starts_with(kPrefix)) copy_value(file, key, metadata.get());
    }
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    vocabulary->model_.reset(llama_model_init_from_user(metadata.get(), nullptr, nullptr, params));
  } catch (const std::exception& error) {
    return damaged(std::string("the tokenizer cannot be loaded: ") + error.what());
  }
  if (!vocabulary->model_) return damaged("the tokenizer cannot be loaded: " + take_llama_errors());
  vocabulary->vocab_ = llama_model_get_vocab(vocabulary->model_.get());
  vocabulary->size_ = llama_vocab_n_tokens(vocabulary->vocab_);
  return vocabulary;
}

}  // namespace recalld::runtime
