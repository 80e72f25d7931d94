#include "runtime/encoder_check.h"

#include <llama.h>

#include <cmath>
#include <string>

#include "runtime/vocabulary.h"
#include "runtime/weights.h"

namespace recalld::runtime {
namespace {

// libllama's own limits.
constexpr int64_t kMaxLayers = 512;
constexpr int64_t kMaxExperts = 512;
// Beyond any model; keeps products of shapes far from overflow.
constexpr int64_t kMaxExtent = 1 << 20;

class Keys {
 public:
  explicit Keys(const GgufFile& file)
      : file_(file), prefix_(file.get_string("general.architecture").value_or("") + ".") {}

  std::string name(const std::string& key) const { return prefix_ + key; }
  bool has(const std::string& key) const { return file_.find(name(key)) != nullptr; }
  std::optional<int64_t> get_int(const std::string& key) const { return file_.get_int(name(key)); }
  std::optional<double> get_float(const std::string& key) const { return file_.get_float(name(key)); }
  std::optional<std::string> get_string(const std::string& key) const { return file_.get_string(name(key)); }

  // The key, or `missing` when the file has none, is within [low, high].
  Status require(const std::string& key, int64_t low, int64_t high, std::optional<int64_t> missing = {}) const {
    const std::optional<int64_t> value = has(key) ? get_int(key) : missing;
    if (value && *value >= low && *value <= high) return ok_status();
    return corrupt(name(key) + (has(key) ? " makes no sense" : " is missing") +
                   "; the file is damaged or badly converted, download or convert it again");
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

Status check_pooling(const Keys& keys) {
  const std::string remedy = "; use an embedding model such as all-MiniLM-L6-v2.gguf, which scripts/deps installs";
  const auto pooling = keys.get_int("pooling_type");
  if (!pooling) return unsupported("not an embedding model: the file has no " + keys.name("pooling_type") + remedy);
  switch (*pooling) {
    case LLAMA_POOLING_TYPE_MEAN:
    case LLAMA_POOLING_TYPE_CLS:
    case LLAMA_POOLING_TYPE_LAST:
      return ok_status();
    case LLAMA_POOLING_TYPE_NONE:
      return unsupported("the model gives a vector for each token, not one for a text" + remedy);
    case LLAMA_POOLING_TYPE_RANK:
      return unsupported("the model ranks pairs of texts and gives no vectors" + remedy);
    default:
      return unsupported(keys.name("pooling_type") + " is " + std::to_string(*pooling) +
                         ", which this build does not know" + remedy);
  }
}

Status check_heads(const Keys& keys) {
  RECALLD_RETURN_IF_ERROR(keys.require("attention.head_count", 1, kMaxExtent));
  const int64_t n_heads = *keys.get_int("attention.head_count");
  const int64_t n_embd = *keys.get_int("embedding_length");
  RECALLD_RETURN_IF_ERROR(keys.require("attention.head_count_kv", 1, n_heads, n_heads));
  const int64_t n_kv_heads = keys.get_int("attention.head_count_kv").value_or(n_heads);
  if (n_heads % n_kv_heads != 0) return corrupt(keys.name("attention.head_count_kv") + " does not divide the heads");
  const bool states_length = keys.has("attention.key_length") || keys.has("attention.value_length");
  if (!states_length && n_embd % n_heads != 0) {
    return corrupt(keys.name("attention.head_count") + " does not divide " + keys.name("embedding_length"));
  }
  const int64_t length = n_embd / n_heads;
  RECALLD_RETURN_IF_ERROR(keys.require("attention.key_length", 1, kMaxExtent, length));
  RECALLD_RETURN_IF_ERROR(keys.require("attention.value_length", 1, kMaxExtent, length));
  const int64_t key_length = keys.get_int("attention.key_length").value_or(length);
  if (key_length != keys.get_int("attention.value_length").value_or(length)) {
    return corrupt("keys and values of different lengths; the file is damaged");
  }
  return keys.require("rope.dimension_count", 1, key_length, key_length);
}

Status check_epsilon(const Keys& keys, const std::string& key) {
  if (!keys.has(key)) return ok_status();
  const auto value = keys.get_float(key);
  if (value && std::isfinite(*value) && *value >= 0) return ok_status();
  return corrupt(keys.name(key) + " is not a small positive number; the file is damaged");
}

Status check_experts(const Keys& keys) {
  RECALLD_RETURN_IF_ERROR(keys.require("expert_count", 0, kMaxExperts, 0));
  const int64_t n_experts = keys.get_int("expert_count").value_or(0);
  RECALLD_RETURN_IF_ERROR(keys.require("expert_used_count", n_experts == 0 ? 0 : 1, n_experts, n_experts));
  return keys.require("expert_group_count", 0, 0, 0);
}

Status check_rope_scaling(const Keys& keys) {
  if (!keys.has("rope.scaling.type")) return ok_status();
  const auto type = keys.get_string("rope.scaling.type");
  if (type && (*type == "none" || *type == "linear" || *type == "yarn" || *type == "longrope")) return ok_status();
  return unsupported(keys.name("rope.scaling.type") + " is not one that this build knows");
}

// Types that ggml's operations on the CPU take: others end the process when the graph is computed.
Status check_types(const GgufFile& file) {
  for (const GgufTensor& tensor : file.tensors()) {
    const auto type = static_cast<ggml_type>(tensor.type);
    // Added to the activations as they are, not multiplied.
    const bool added = tensor.shape[1] == 1 || tensor.name == "token_types.weight";
    if (added ? type == GGML_TYPE_F32 : can_multiply(type)) continue;
    return unsupported("tensor '" + tensor.name + "' has type " + ggml_type_name(type) +
                       (added ? "; it must be F32" : "; use a model in F32, F16, Q8_0 or a K-quant"));
  }
  return ok_status();
}

}  // namespace

Status check_encoder(const GgufFile& file) {
  const auto architecture = file.get_string("general.architecture");
  if (!architecture || architecture->empty()) return corrupt("general.architecture is missing; the file is damaged");
  const Keys keys(file);
  RECALLD_RETURN_IF_ERROR(check_pooling(keys));
  RECALLD_RETURN_IF_ERROR(keys.require("block_count", 1, kMaxLayers));
  RECALLD_RETURN_IF_ERROR(keys.require("nextn_predict_layers", 0, 0, 0));
  RECALLD_RETURN_IF_ERROR(keys.require("context_length", 4, int64_t{1} << 30));
  RECALLD_RETURN_IF_ERROR(keys.require("embedding_length", 1, kMaxExtent));
  RECALLD_RETURN_IF_ERROR(keys.require("feed_forward_length", 1, kMaxExtent));
  RECALLD_RETURN_IF_ERROR(check_heads(keys));
  RECALLD_RETURN_IF_ERROR(check_epsilon(keys, "attention.layer_norm_epsilon"));
  RECALLD_RETURN_IF_ERROR(check_epsilon(keys, "attention.layer_norm_rms_epsilon"));
  RECALLD_RETURN_IF_ERROR(check_experts(keys));
  RECALLD_RETURN_IF_ERROR(check_rope_scaling(keys));
  RECALLD_RETURN_IF_ERROR(check_types(file));
  return check_vocabulary(file, {"bert", "t5", "gpt2", "llama"});
}

int32_t encoder_window(const GgufFile& file) {
  return static_cast<int32_t>(Keys(file).get_int("context_length").value_or(0));
}

}  // namespace recalld::runtime
