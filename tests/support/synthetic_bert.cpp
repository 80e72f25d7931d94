#include "tests/support/synthetic_bert.h"

#include <ggml-cpp.h>
#include <llama.h>

#include <algorithm>
#include <random>
#include <vector>

namespace recalld::testing {
namespace {

constexpr int kWidth = 8;
constexpr int kInner = 12;
constexpr int kWindow = 16;

std::vector<std::string> token_texts() {
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]"};
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    tokens.push_back(std::string("\xE2\x96\x81") + letter);
    tokens.emplace_back(1, letter);
  }
  return tokens;
}

void set_metadata(gguf_context* gguf, const std::vector<std::string>& tokens) {
  const auto set = [gguf](const char* key, uint32_t value) { gguf_set_val_u32(gguf, key, value); };
  gguf_set_val_str(gguf, "general.architecture", "bert");
  set("bert.block_count", 1);
  set("bert.context_length", kWindow);
  set("bert.embedding_length", kWidth);
  set("bert.feed_forward_length", kInner);
  set("bert.attention.head_count", 2);
  gguf_set_val_f32(gguf, "bert.attention.layer_norm_epsilon", 1e-12F);
  gguf_set_val_bool(gguf, "bert.attention.causal", false);
  set("bert.pooling_type", LLAMA_POOLING_TYPE_MEAN);
  gguf_set_val_str(gguf, "tokenizer.ggml.model", "bert");
  set("tokenizer.ggml.token_type_count", 2);
  std::vector<const char*> pointers;
  std::vector<int32_t> types(tokens.size(), LLAMA_TOKEN_TYPE_NORMAL);
  std::fill_n(types.begin(), 4, LLAMA_TOKEN_TYPE_CONTROL);
  for (const std::string& token : tokens) pointers.push_back(token.c_str());
  gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
  gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
  set("tokenizer.ggml.padding_token_id", 0);
  set("tokenizer.ggml.unknown_token_id", 1);
  set("tokenizer.ggml.bos_token_id", 2);
  set("tokenizer.ggml.seperator_token_id", 3);
}

}  // namespace

Status write_synthetic_bert(const std::string& path) {
  const std::vector<std::string> tokens = token_texts();
  const gguf_context_ptr gguf(gguf_init_empty());
  const ggml_context_ptr context(ggml_init({size_t{1} << 20, nullptr, false}));
  if (!gguf || !context) return internal_error("no memory for a synthetic encoder");
  set_metadata(gguf.get(), tokens);
  std::mt19937 random(1);
  std::normal_distribution<float> distribution(0.0F, 0.4F);
  const auto add = [&](const std::string& name, int n_in, int n_out) {
    ggml_tensor* tensor = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, n_in, n_out);
    ggml_set_name(tensor, name.c_str());
    std::generate_n(static_cast<float*>(tensor->data), n_in * n_out, [&] { return distribution(random); });
    gguf_add_tensor(gguf.get(), tensor);
  };
  const auto linear = [&](const std::string& name, int n_in, int n_out) {
    add(name + ".weight", n_in, n_out);
    add(name + ".bias", n_out, 1);
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", kWidth, 1);
    add(name + ".bias", kWidth, 1);
  };
  add("token_embd.weight", kWidth, static_cast<int>(tokens.size()));
  add("position_embd.weight", kWidth, kWindow);
  add("token_types.weight", kWidth, 2);
  norm("token_embd_norm");
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    linear(std::string("blk.0.") + name, kWidth, kWidth);
  }
  norm("blk.0.attn_output_norm");
  linear("blk.0.ffn_up", kWidth, kInner);
  linear("blk.0.ffn_down", kInner, kWidth);
  norm("blk.0.layer_output_norm");
  if (!gguf_write_to_file(gguf.get(), path.c_str(), false)) return internal_error("cannot write " + path);
  return ok_status();
}

}  // namespace recalld::testing
