#include "runtime/hparams_reader.h"

#include <cmath>
#include <cstring>

#include "kernels/layout.h"

namespace recalld::runtime {
namespace {

constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxHeads = 4096;
constexpr int64_t kMaxWindow = 1 << 28;

class Reader {
 public:
  Reader(const GgufFile& file, std::string_view prefix) : file_(file), prefix_(std::string(prefix) + ".") {}

  // In [low, high]; `missing` when there is no such key, or an error when `missing` is below low.
  int32_t integer(const std::string& key, int64_t low, int64_t high, int64_t missing = -1) {
    const GgufValue* value = file_.find(prefix_ + key);
    if (value != nullptr && value->is_array) {
      fail(unsupported(prefix_ + key + " differs between layers, which this build cannot run"));
      return static_cast<int32_t>(low);
    }
    const int64_t number = file_.get_int(prefix_ + key).value_or(missing);
    if (number < low || number > high) {
      fail(corrupt(prefix_ + key + (value == nullptr ? " is missing" : " is " + std::to_string(number)) +
                   "; the file is damaged or badly converted"));
      return static_cast<int32_t>(low);
    }
    return static_cast<int32_t>(number);
  }

  float positive(const std::string& key, double missing) {
    const double number = file_.get_float(prefix_ + key).value_or(missing);
    if (!(number > 0 && number < 1e12)) {
      fail(corrupt(prefix_ + key + " is missing or not a positive number; the file is damaged or badly converted"));
      return 1.0F;
    }
    return static_cast<float>(number);
  }

  std::string text(const std::string& key) { return file_.get_string(prefix_ + key).value_or(""); }
  bool has(const std::string& key) { return file_.find(prefix_ + key) != nullptr; }
  const std::string& prefix() const { return prefix_; }

  void fail(Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const Status& status() const { return status_; }

 private:
  const GgufFile& file_;
  std::string prefix_;
  Status status_;
};

RopeHparams read_rope(Reader& reader, const GgufFile& file, bool neox, int32_t head_dim) {
  RopeHparams rope;
  rope.neox = neox;
  rope.n_dims = reader.integer("rope.dimension_count", 2, head_dim, head_dim);
  if (rope.n_dims % 2 != 0) reader.fail(corrupt("rope.dimension_count is odd; the file is damaged"));
  rope.base = reader.positive("rope.freq_base", 10000.0);
  const std::string kind = reader.text("rope.scaling.type");
  if (!kind.empty() && kind != "none" && kind != "linear") {
    reader.fail(unsupported("RoPE scaling '" + kind + "' is not supported (none and linear are)"));
  }
  if (kind != "none") {
    const char* key = reader.has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
    if (reader.has(key)) rope.linear_scale = 1.0F / reader.positive(key, 0);
  }
  if (const GgufTensor* factors = file.find_tensor("rope_freqs.weight")) {
    rope.factors.resize(static_cast<size_t>(rope.n_dims / 2));
    if (factors->data.size() != rope.factors.size() * sizeof(float)) {
      reader.fail(corrupt("rope_freqs.weight has the wrong size; the file is damaged or badly converted"));
      return rope;
    }
    std::memcpy(rope.factors.data(), factors->data.data(), factors->data.size());
    for (const float factor : rope.factors) {
      if (!(factor > 0))
        reader.fail(corrupt("rope_freqs.weight holds a factor that is not positive; the file is damaged"));
    }
  }
  return rope;
}

}  // namespace

Result<Hparams> read_hparams(const GgufFile& file, const Architecture& architecture, int32_t n_vocab) {
  Reader reader(file, architecture.name());
  Hparams hparams;
  hparams.n_vocab = n_vocab;
  hparams.n_ctx_train = reader.integer("context_length", 1, kMaxWindow);
  hparams.n_embd = reader.integer("embedding_length", 1, kMaxWidth);
  hparams.n_ff = reader.integer("feed_forward_length", 1, kMaxWidth);
  hparams.norm_epsilon = reader.positive("attention.layer_norm_rms_epsilon", 0);
  if (reader.integer("expert_count", 0, kMaxHeads, 0) > 0) {
    reader.fail(unsupported("mixtures of experts are not supported; use a dense model"));
  }
  const int32_t n_layers = reader.integer("block_count", 1, kMaxLayers);
  LayerHparams layer;
  layer.n_heads = reader.integer("attention.head_count", 1, kMaxHeads);
  layer.n_kv_heads = reader.integer("attention.head_count_kv", 1, kMaxHeads, layer.n_heads);
  layer.head_dim = reader.integer("attention.key_length", 1, kMaxWidth, hparams.n_embd / layer.n_heads);
  const int32_t value_dim = reader.integer("attention.value_length", 1, kMaxWidth, hparams.n_embd / layer.n_heads);
  if (layer.n_heads % layer.n_kv_heads != 0) {
    reader.fail(corrupt(reader.prefix() + "attention.head_count is no multiple of head_count_kv; the file is damaged"));
  }
  if (value_dim != layer.head_dim || layer.head_dim % 16 != 0 || layer.head_dim > kernels::kMaxHeadDim) {
    reader.fail(unsupported("heads of " + std::to_string(layer.head_dim) + " (keys) and " + std::to_string(value_dim) +
                            " (values) are not supported; both must be the same multiple of 16, at most 256"));
  }
  layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(layer.head_dim));
  hparams.layers.assign(static_cast<size_t>(n_layers), layer);
  hparams.ropes.push_back(read_rope(reader, file, architecture.neox_rope(), layer.head_dim));
  RECALLD_RETURN_IF_ERROR(Status(reader.status()));
  RECALLD_RETURN_IF_ERROR(architecture.adjust(file, &hparams));
  return hparams;
}

}  // namespace recalld::runtime
