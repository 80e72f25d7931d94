#include "runtime/gguf_encoder.h"

#include <llama.h>

#include <algorithm>
#include <exception>
#include <filesystem>

#include "runtime/encoder_check.h"
#include "runtime/gguf_file.h"
#include "runtime/llama_log.h"
#include "runtime/unit_vector.h"
#include "runtime/vocabulary.h"

namespace recalld::runtime {
namespace {

// Changes whenever the same file and text give another vector than before.
constexpr uint64_t kNumericsVersion = 1;
constexpr int kMaxThreads = 512;
// libllama reserves the attention scores of a whole window: [n_heads][window][window] floats.
constexpr int32_t kMaxWindow = 2048;
// More text than any window holds; libllama counts bytes in 32 bits.
constexpr size_t kMaxTextBytes = size_t{1} << 26;

struct FreeModel {
  void operator()(llama_model* model) const { llama_model_free(model); }
};
struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};
using ModelPtr = std::unique_ptr<llama_model, FreeModel>;
using ContextPtr = std::unique_ptr<llama_context, FreeContext>;

// libllama ends the process when a token it is to add does not exist.
Status check_special_tokens(const llama_vocab* vocab) {
  const bool word_pieces = llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_WPM;
  const auto missing = [](int32_t token) { return token == LLAMA_TOKEN_NULL; };
  if (((word_pieces || llama_vocab_get_add_bos(vocab)) && missing(llama_vocab_bos(vocab))) ||
      ((word_pieces || llama_vocab_get_add_sep(vocab)) && missing(llama_vocab_sep(vocab))) ||
      (llama_vocab_get_add_eos(vocab) && missing(llama_vocab_eos(vocab)))) {
    return corrupt("a special token that the tokenizer adds does not exist; the file is damaged or badly converted");
  }
  return ok_status();
}

class GgufEncoder final : public TextEncoder {
 public:
  static Result<std::unique_ptr<TextEncoder>> open(const GgufFile& file, int threads);

  const std::string& name() const override { return name_; }
  int32_t dim() const override { return dim_; }
  Digest128 fingerprint() const override { return fingerprint_; }
  Result<std::vector<float>> embed(std::string_view text) override;

 private:
  Status load(const GgufFile& file, int threads);
  void find_frame();
  // The text's own tokens, as many as fit, with those that the model puts around a text; empty for a text without any.
  std::vector<int32_t> framed_tokens(std::string_view text) const;

  std::string name_;
  int32_t dim_ = 0;
  size_t window_ = 0;
  Digest128 fingerprint_;
  ModelPtr model_;
  ContextPtr context_;
  const llama_vocab* vocab_ = nullptr;
  std::vector<int32_t> before_;
  std::vector<int32_t> after_;
};

Result<std::unique_ptr<TextEncoder>> GgufEncoder::open(const GgufFile& file, int threads) {
  auto encoder = std::make_unique<GgufEncoder>();
  encoder->name_ = file.get_string("general.name").value_or(std::filesystem::path(file.path()).stem().string());
  Digester digester;
  digester.add("recalld text encoder: gguf");
  digester.add(kNumericsVersion);
  digester.add(file.digest().low);
  digester.add(file.digest().high);
  encoder->fingerprint_ = digester.finish();
  RECALLD_RETURN_IF_ERROR(encoder->load(file, threads));
  encoder->find_frame();
  if (encoder->window_ <= encoder->before_.size() + encoder->after_.size()) {
    return corrupt("the window of " + std::to_string(encoder->window_) + " tokens has no room for a text");
  }
  return std::unique_ptr<TextEncoder>(std::move(encoder));
}

Status GgufEncoder::load(const GgufFile& file, int threads) {
  window_ = static_cast<size_t>(std::min(encoder_window(file), kMaxWindow));
  model_.reset(llama_model_load_from_file(file.path().c_str(), llama_model_default_params()));
  if (!model_) return unsupported("libllama cannot load it: " + take_llama_errors());
  vocab_ = llama_model_get_vocab(model_.get());
  RECALLD_RETURN_IF_ERROR(check_special_tokens(vocab_));
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(window_);
  params.n_batch = params.n_ctx;
  params.n_ubatch = params.n_ctx;
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.embeddings = true;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.no_perf = true;
  context_.reset(llama_init_from_model(model_.get(), params));
  if (!context_) return unsupported("libllama cannot run it: " + take_llama_errors());
  dim_ = llama_model_n_embd_out(model_.get());
  return ok_status();
}

void GgufEncoder::find_frame() {
  append_tokens(vocab_, "", true, &after_);
  if (!after_.empty() && after_.front() == llama_vocab_bos(vocab_)) {
    before_.assign(1, after_.front());
    after_.erase(after_.begin());
  }
}

std::vector<int32_t> GgufEncoder::framed_tokens(std::string_view text) const {
  std::vector<int32_t> own;
  append_tokens(vocab_, text.substr(0, kMaxTextBytes), false, &own);
  if (own.empty()) return {};
  const size_t n = std::min(own.size(), window_ - before_.size() - after_.size());
  std::vector<int32_t> tokens = before_;
  tokens.insert(tokens.end(), own.begin(), own.begin() + static_cast<ptrdiff_t>(n));
  tokens.insert(tokens.end(), after_.begin(), after_.end());
  return tokens;
}

Result<std::vector<float>> GgufEncoder::embed(std::string_view text) {
  take_llama_errors();
  std::vector<int32_t> tokens;
  try {
    tokens = framed_tokens(text);
  } catch (const std::exception& error) {
    return corrupt("the tokenizer of the encoder " + name_ + " failed: " + error.what());
  }
  if (tokens.empty()) return std::vector<float>(static_cast<size_t>(dim_), 0.0F);
  if (llama_memory_t memory = llama_get_memory(context_.get()); memory != nullptr) llama_memory_clear(memory, true);
  const llama_batch batch = llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size()));
  const float* pooled = nullptr;
  if (llama_decode(context_.get(), batch) == 0) pooled = llama_get_embeddings_seq(context_.get(), 0);
  if (pooled == nullptr) return internal_error("the encoder " + name_ + " failed: " + take_llama_errors());
  std::vector<float> vector(pooled, pooled + dim_);
  RECALLD_RETURN_IF_ERROR(make_unit(vector).with_context("the encoder " + name_));
  return vector;
}

}  // namespace

Result<std::unique_ptr<TextEncoder>> open_gguf_encoder(const std::string& path, int threads) {
  if (threads < 1 || threads > kMaxThreads) {
    return invalid_argument("threads is " + std::to_string(threads) + "; use 1 to " + std::to_string(kMaxThreads));
  }
  quiet_llama_log();
  llama_backend_init();
  take_llama_errors();
  RECALLD_ASSIGN_OR_RETURN(const auto file, GgufFile::open(path, {.threads = threads}));
  const std::string context = "encoder file '" + path + "'";
  if (Status status = check_encoder(*file); !status.ok()) return status.with_context(context);
  try {
    auto encoder = GgufEncoder::open(*file, threads);
    if (!encoder.ok()) return encoder.status().with_context(context);
    return encoder;
  } catch (const std::exception& error) {
    return unsupported(context + ": libllama cannot load it: " + error.what());
  }
}

}  // namespace recalld::runtime
