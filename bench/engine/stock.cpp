#include "bench/engine/stock.h"

#include <llama.h>

#include <algorithm>
#include <stdexcept>

namespace recalld::bench {

Stock::Stock(const std::string& model_path, int context, int threads) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  model_ = llama_model_load_from_file(model_path.c_str(), llama_model_default_params());
  if (model_ == nullptr) throw std::runtime_error("libllama cannot load " + model_path);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<uint32_t>(context);
  params.n_batch = params.n_ubatch = 512;
  params.n_threads = params.n_threads_batch = threads;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_ENABLED;
  params.swa_full = false;  // layers with a window keep and attend to no more than it
  context_ = llama_init_from_model(model_, params);
  if (context_ == nullptr) throw std::runtime_error("libllama cannot make a context");
}

Stock::~Stock() {
  llama_free(context_);
  llama_model_free(model_);
}

void Stock::read(std::span<const int32_t> tokens) {
  while (!tokens.empty()) {
    const auto piece = tokens.first(std::min<size_t>(tokens.size(), 512));
    // llama_batch_get_one asks for the last token's logits and continues at the end of the sequence.
    if (llama_decode(context_, llama_batch_get_one(const_cast<llama_token*>(piece.data()),
                                                   static_cast<int32_t>(piece.size()))) != 0)
      throw std::runtime_error("libllama failed to decode");
    llama_synchronize(context_);
    length_ += static_cast<int>(piece.size());
    tokens = tokens.subspan(piece.size());
  }
}

void Stock::truncate(int length) {
  llama_memory_seq_rm(llama_get_memory(context_), 0, length, -1);
  length_ = length;
}

}  // namespace recalld::bench
