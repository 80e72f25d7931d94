// Gemma 3: most layers see a sliding window alone, rotated with a base of their own. Kamath et al. 2025 (arXiv
// 2503.19786). Norms follow attention and feed-forward as well; norm weights hold the 1 that the paper's code adds.
#include <cmath>
#include <string>

#include "runtime/architecture.h"

namespace recalld::runtime {
namespace {

constexpr int64_t kMaxWindow = 1 << 28;
constexpr int64_t kPattern = 6;  // five local layers, then a global one
constexpr double kLocalRopeBase = 10000.0;
// The 27B model alone scales by the width of a head that n_heads heads would have, not by head_dim.
constexpr size_t kLayersOf27B = 62;

Status damaged(const std::string& key) {
  return corrupt(key + " has an impossible value; the file is damaged or badly converted");
}

// Which layers are local; "sliding_window_pattern" is a number (every nth layer is global), a list, or left out.
Result<std::vector<bool>> local_layers(const GgufFile& file, size_t n_layers) {
  const std::string key = "gemma3.attention.sliding_window_pattern";
  std::vector<bool> local(n_layers);
  if (const GgufValue* value = file.find(key); value != nullptr && value->is_array) {
    const auto list = file.get_ints(key);
    if (!list || list->size() < n_layers) return damaged(key);
    for (size_t i = 0; i < n_layers; ++i) local[i] = (*list)[i] != 0;
    return local;
  }
  const int64_t pattern = file.get_int(key).value_or(kPattern);
  if (pattern < 0) return damaged(key);
  for (size_t i = 0; i < n_layers; ++i) local[i] = pattern == 0 || static_cast<int64_t>(i) % pattern < pattern - 1;
  return local;
}

Status set_windows(const GgufFile& file, Hparams* hparams) {
  const std::string window_key = "gemma3.attention.sliding_window";
  if (file.find(window_key) == nullptr) return ok_status();
  const int64_t window = file.get_int(window_key).value_or(-1);
  if (window < 0 || window > kMaxWindow) return damaged(window_key);
  if (window == 0) return ok_status();
  const std::string base_key = "gemma3.rope.freq_base_swa";
  const double base = file.get_float(base_key).value_or(kLocalRopeBase);
  if (!(base > 0 && base < 1e12)) return damaged(base_key);
  RECALLD_ASSIGN_OR_RETURN(const std::vector<bool> local, local_layers(file, hparams->layers.size()));
  RopeHparams rope = hparams->ropes.front();
  rope.base = static_cast<float>(base);
  rope.linear_scale = 1.0F;
  hparams->ropes.push_back(std::move(rope));
  for (size_t i = 0; i < local.size(); ++i) {
    if (!local[i]) continue;
    hparams->layers[i].window = static_cast<int32_t>(window);
    hparams->layers[i].rope = 1;
  }
  return ok_status();
}

class Gemma3 final : public Architecture {
 public:
  std::string_view name() const override { return "gemma3"; }
  bool neox_rope() const override { return true; }

  Status adjust(const GgufFile& file, Hparams* hparams) const override {
    // No Gemma has frequency factors: a file with them is refused for a tensor that nobody asks for.
    hparams->ropes.front().factors.clear();
    const std::string softcap_key = "gemma3.final_logit_softcapping";
    const double softcap = file.get_float(softcap_key).value_or(0);
    if (!(softcap >= 0 && softcap < 1e12)) return damaged(softcap_key);
    hparams->logit_softcap = static_cast<float>(softcap);
    if (hparams->layers.size() == kLayersOf27B) {
      for (LayerHparams& layer : hparams->layers) {
        const int32_t width = hparams->n_embd / layer.n_heads;
        layer.attention_scale = 1.0F / std::sqrt(static_cast<float>(width));
      }
    }
    return set_windows(file, hparams);
  }

  void bind_layer(WeightBinder& binder, const Hparams& hparams, int layer, LayerWeights* weights) const override {
    const int64_t head_dim = hparams.layers[layer].head_dim;
    bind_attention(binder, hparams, layer, weights);
    weights->q_norm = binder.require(layer, "attn_q_norm.weight", {head_dim});
    weights->k_norm = binder.require(layer, "attn_k_norm.weight", {head_dim});
    weights->attn_post_norm = binder.require(layer, "post_attention_norm.weight", {hparams.n_embd});
    bind_feed_forward(binder, hparams, layer, weights);
    weights->ffn_post_norm = binder.require(layer, "post_ffw_norm.weight", {hparams.n_embd});
  }

  ggml_tensor* build_input(GraphBuilder& graph, ggml_tensor* x) const override {
    return graph.scale(x, std::sqrt(static_cast<float>(x->ne[0])));
  }

  ggml_tensor* build_layer(GraphBuilder& graph, int layer, ggml_tensor* x) const override {
    return build_dense_layer(graph, layer, x, Activation::kGelu);
  }
};

}  // namespace

const Architecture& gemma3_architecture() {
  static const Gemma3 kArchitecture;
  return kArchitecture;
}

}  // namespace recalld::runtime
