#include "tests/support/synthetic_gguf.h"

#include <ggml-cpp.h>
#include <llama.h>

#include <cmath>
#include <random>
#include <vector>

namespace recalld::testing {
namespace {

constexpr const char* kChatMl =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

std::string utf8(uint32_t code_point) {
  if (code_point < 0x80) return std::string(1, static_cast<char>(code_point));
  return {static_cast<char>(0xC0 | (code_point >> 6U)), static_cast<char>(0x80 | (code_point & 0x3FU))};
}

// The characters that stand for the 256 bytes in GPT-2's vocabulary.
std::vector<std::string> byte_tokens() {
  std::vector<std::string> tokens;
  uint32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    tokens.push_back(utf8(printable ? byte : next++));
  }
  return tokens;
}

class Writer {
 public:
  explicit Writer(const SyntheticModel& model) : model_(model), random_(model.seed) {
    context_.reset(ggml_init({size_t{64} << 20, nullptr, false}));
    gguf_.reset(gguf_init_empty());
  }

  Status write(const std::string& path) {
    add_hparams();
    add_vocabulary();
    add_tensors();
    if (!gguf_write_to_file(gguf_.get(), path.c_str(), false)) return unavailable("cannot write " + path);
    return ok_status();
  }

 private:
  std::string key(const std::string& name) const { return model_.architecture + "." + name; }
  void set(const std::string& name, uint32_t value) { gguf_set_val_u32(gguf_.get(), key(name).c_str(), value); }
  void set(const std::string& name, float value) { gguf_set_val_f32(gguf_.get(), key(name).c_str(), value); }

  void add_hparams() {
    gguf_set_val_str(gguf_.get(), "general.architecture", model_.architecture.c_str());
    gguf_set_val_str(gguf_.get(), "general.name", "synthetic");
    set("context_length", static_cast<uint32_t>(model_.n_ctx));
    set("embedding_length", static_cast<uint32_t>(model_.n_embd));
    set("block_count", static_cast<uint32_t>(model_.n_layers));
    set("feed_forward_length", static_cast<uint32_t>(model_.n_ff));
    set("attention.head_count", static_cast<uint32_t>(model_.n_heads));
    set("attention.head_count_kv", static_cast<uint32_t>(model_.n_kv_heads));
    set("attention.key_length", static_cast<uint32_t>(model_.head_dim));
    set("attention.value_length", static_cast<uint32_t>(model_.head_dim));
    set("attention.layer_norm_rms_epsilon", 1e-5F);
    set("rope.dimension_count", static_cast<uint32_t>(model_.head_dim));
    set("rope.freq_base", model_.rope_base);
    if (model_.rope_linear_factor != 1.0F) {
      gguf_set_val_str(gguf_.get(), key("rope.scaling.type").c_str(), "linear");
      set("rope.scaling.factor", model_.rope_linear_factor);
    }
    if (model_.window > 0) set("attention.sliding_window", static_cast<uint32_t>(model_.window));
    if (model_.window_pattern > 0)
      set("attention.sliding_window_pattern", static_cast<uint32_t>(model_.window_pattern));
    if (model_.window_rope_base > 0) set("rope.freq_base_swa", model_.window_rope_base);
    if (model_.logit_softcap > 0) set("final_logit_softcapping", model_.logit_softcap);
  }

  void add_vocabulary() {
    std::vector<std::string> tokens = byte_tokens();
    std::vector<int32_t> types(tokens.size(), LLAMA_TOKEN_TYPE_NORMAL);
    const std::vector<const char*> merges = {"h e", "he l", "t h", "th e"};
    for (const char* token : {"he", "hel", "th", "the"}) {
      tokens.emplace_back(token);
      types.push_back(LLAMA_TOKEN_TYPE_NORMAL);
    }
    const auto end_of_text = static_cast<uint32_t>(tokens.size());
    for (const char* token : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
      tokens.emplace_back(token);
      types.push_back(LLAMA_TOKEN_TYPE_CONTROL);
    }
    n_vocab_ = static_cast<int>(tokens.size());
    std::vector<const char*> pointers;
    for (const std::string& token : tokens) pointers.push_back(token.c_str());
    gguf_context* gguf = gguf_.get();
    gguf_set_val_str(gguf, "tokenizer.ggml.model", "gpt2");
    gguf_set_val_str(gguf, "tokenizer.ggml.pre", "gpt-2");
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", pointers.data(), pointers.size());
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types.data(), types.size());
    std::vector<const char*> merge_list = merges;
    gguf_set_arr_str(gguf, "tokenizer.ggml.merges", merge_list.data(), merge_list.size());
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", end_of_text);
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", end_of_text + 2);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_bos_token", model_.add_bos);
    gguf_set_val_str(gguf, "tokenizer.chat_template", kChatMl);
  }

  void add_tensors() {
    const int n_q = model_.n_heads * model_.head_dim;
    const int n_kv = model_.n_kv_heads * model_.head_dim;
    matrix("token_embd.weight", model_.n_embd, n_vocab_);
    norm("output_norm.weight", model_.n_embd);
    if (!model_.tied_output) matrix("output.weight", model_.n_embd, n_vocab_);
    if (model_.rope_factors) factors("rope_freqs.weight", model_.head_dim / 2);
    for (int i = 0; i < model_.n_layers; ++i) {
      const std::string layer = "blk." + std::to_string(i) + ".";
      norm(layer + "attn_norm.weight", model_.n_embd);
      matrix(layer + "attn_q.weight", model_.n_embd, n_q);
      matrix(layer + "attn_k.weight", model_.n_embd, n_kv);
      matrix(layer + "attn_v.weight", model_.n_embd, n_kv);
      if (model_.architecture == "qwen2") {
        bias(layer + "attn_q.bias", n_q);
        bias(layer + "attn_k.bias", n_kv);
        bias(layer + "attn_v.bias", n_kv);
      }
      const bool is_gemma = model_.architecture == "gemma3";
      if (is_gemma || model_.architecture == "qwen3") {
        norm(layer + "attn_q_norm.weight", model_.head_dim);
        norm(layer + "attn_k_norm.weight", model_.head_dim);
      }
      matrix(layer + "attn_output.weight", n_q, model_.n_embd);
      norm(layer + "ffn_norm.weight", model_.n_embd);
      matrix(layer + "ffn_gate.weight", model_.n_embd, model_.n_ff);
      matrix(layer + "ffn_up.weight", model_.n_embd, model_.n_ff);
      matrix(layer + "ffn_down.weight", model_.n_ff, model_.n_embd);
      if (is_gemma) {
        norm(layer + "post_attention_norm.weight", model_.n_embd);
        norm(layer + "post_ffw_norm.weight", model_.n_embd);
      }
    }
  }

  std::vector<float> normal(int64_t n, float mean, float deviation) {
    std::normal_distribution<float> distribution(mean, deviation);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = distribution(random_);
    return values;
  }

  void add(const std::string& name, ggml_tensor* tensor, const std::vector<float>& values) {
    ggml_set_name(tensor, name.c_str());
    ggml_quantize_chunk(tensor->type, values.data(), tensor->data, 0, ggml_nrows(tensor), tensor->ne[0], nullptr);
    gguf_add_tensor(gguf_.get(), tensor);
  }

  void matrix(const std::string& name, int n_in, int n_out) {
    ggml_tensor* tensor = ggml_new_tensor_2d(context_.get(), model_.type, n_in, n_out);
    add(name, tensor, normal(int64_t{n_in} * n_out, 0.0F, 1.0F / std::sqrt(static_cast<float>(n_in))));
  }
  void vector(const std::string& name, const std::vector<float>& values) {
    add(name, ggml_new_tensor_1d(context_.get(), GGML_TYPE_F32, static_cast<int64_t>(values.size())), values);
  }
  void norm(const std::string& name, int n) { vector(name, normal(n, 1.0F, 0.1F)); }
  void bias(const std::string& name, int n) { vector(name, normal(n, 0.0F, 0.3F)); }
  void factors(const std::string& name, int n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i)
      values[static_cast<size_t>(i)] = 1.0F + 7.0F * static_cast<float>(i) / static_cast<float>(n);
    vector(name, values);
  }

  const SyntheticModel& model_;
  std::mt19937 random_;
  ggml_context_ptr context_;
  gguf_context_ptr gguf_;
  int n_vocab_ = 0;
};

}  // namespace

Status write_synthetic_gguf(const SyntheticModel& model, const std::string& path) { return Writer(model).write(path); }

}  // namespace recalld::testing
