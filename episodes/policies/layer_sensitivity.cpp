#include "episodes/policies/layer_sensitivity.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "episodes/policies/evicting_prefill.h"
#include "episodes/policies/streamingllm.h"

namespace recalld::episodes {
namespace {

// Evicts as another policy does and remembers the keys of the block read last.
class KeyRecorder final : public EvictionPolicy {
 public:
  KeyRecorder(std::unique_ptr<EvictionPolicy> policy, size_t n_layers) : policy_(std::move(policy)), keys_(n_layers) {}

  const std::string& name() const override { return policy_->name(); }
  Selection selection() const override { return policy_->selection(); }
  int32_t min_budget() const override { return policy_->min_budget(); }
  bool scores_every_block() const override { return true; }

  void score(const LayerEntries& entries, LayerScores& scores) override {
    auto& keys = keys_[static_cast<size_t>(entries.layer)];
    keys.clear();
    for (const HeadEntries& head : entries.heads) {
      const auto n_new = static_cast<size_t>(entries.end - entries.block_start);
      const auto block = head.keys.last(n_new * static_cast<size_t>(entries.head_dim));
      keys.insert(keys.end(), block.begin(), block.end());
    }
    policy_->score(entries, scores);
  }

  // [head][token][head_dim]; empty for layers that do not evict.
  const std::vector<float>& keys(size_t layer) const { return keys_[layer]; }

 private:
  std::unique_ptr<EvictionPolicy> policy_;
  std::vector<std::vector<float>> keys_;
};

double mean_cosine(const std::vector<float>& a, const std::vector<float>& b, size_t dims) {
  double sum = 0;
  for (size_t row = 0; row < a.size(); row += dims) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = row; i < row + dims; ++i) {
      dot += static_cast<double>(a[i]) * static_cast<double>(b[i]);
      aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
      bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
    }
    sum += aa == bb && aa == dot ? 1.0 : dot / std::sqrt(aa * bb);
  }
  return sum / (static_cast<double>(a.size()) / static_cast<double>(dims));
}

Digest128 measurement_digest(const runtime::Model& model, std::span<const int32_t> text,
                             const SensitivityOptions& options) {
  Digester digester;
  digester.add("layer sensitivity 1");
  digester.add(model.fingerprint().hex());
  for (const int32_t number : {options.block_tokens, options.sinks, options.recent_tokens, options.max_tokens})
    digester.add(static_cast<uint64_t>(number));
  digester.add(std::as_bytes(text));
  return digester.finish();
}

// Nothing when there is no such file or it does not hold n_layers numbers of the right kind.
std::vector<float> read_numbers(const std::string& path, size_t n_layers) {
  std::ifstream file(path);
  std::vector<float> numbers;
  for (float number; file >> number;) numbers.push_back(number);
  const bool sane = numbers.size() == n_layers &&
                    std::all_of(numbers.begin(), numbers.end(), [](float s) { return std::isfinite(s) && s >= 0; });
  return sane ? numbers : std::vector<float>();
}

Status write_numbers(const std::string& path, const std::vector<float>& numbers) {
  const std::string unfinished = path + "." + std::to_string(getpid());
  std::ofstream file(unfinished);
  file.precision(std::numeric_limits<float>::max_digits10);
  for (const float number : numbers) file << number << '\n';
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(unfinished, path, error);
  if (!file || error) return unavailable("cannot write " + path + "; check the folder and the space on its disk");
  return ok_status();
}

}  // namespace

Result<LayerSensitivity> measure_sensitivity(runtime::Engine& engine, const std::shared_ptr<cache::MemoryPool>& pool,
                                             std::span<const int32_t> text, const SensitivityOptions& options) {
  text = text.first(std::min(text.size(), static_cast<size_t>(std::max(0, options.max_tokens))));
  if (options.block_tokens < 1 || text.size() < 2 * static_cast<size_t>(options.block_tokens))
    return invalid_argument("a calibration text of " + std::to_string(text.size()) + " tokens; use two blocks of " +
                            std::to_string(options.block_tokens) + " or more");
  const cache::CacheShape& shape = engine.model().cache_shape();
  const size_t n_layers = shape.layers.size();
  KeyRecorder full(make_streamingllm({.sinks = options.sinks}), n_layers);
  KeyRecorder masked(make_streamingllm({.sinks = options.sinks}), n_layers);
  PrefillOptions prefill{.budget = static_cast<int32_t>(text.size()), .block_tokens = options.block_tokens};
  RECALLD_ASSIGN_OR_RETURN(const auto full_reader, EvictingPrefill::create(engine, pool, full, prefill));
  prefill.budget = options.sinks + options.recent_tokens;
  RECALLD_ASSIGN_OR_RETURN(const auto masked_reader, EvictingPrefill::create(engine, pool, masked, prefill));

  LayerSensitivity result;
  std::vector<double> sums(n_layers);
  for (size_t first = 0; first < text.size();) {
    const auto block = text.subspan(first, std::min(static_cast<size_t>(options.block_tokens), text.size() - first));
    RECALLD_RETURN_IF_ERROR(full_reader->read_block(block));
    RECALLD_RETURN_IF_ERROR(masked_reader->read_block(block));
    auto& sigma = result.sigma.emplace_back(n_layers, 1.0F);
    for (size_t layer = 0; layer < n_layers; ++layer) {
      if (full.keys(layer).empty()) continue;
      const double mean =
          mean_cosine(full.keys(layer), masked.keys(layer), static_cast<size_t>(shape.layers[layer].head_dim));
      sigma[layer] = static_cast<float>(mean);
      sums[layer] += (1.0 - mean) * static_cast<double>(block.size());
    }
    first += block.size();
  }
  for (const double sum : sums)
    result.s.push_back(static_cast<float>(std::max(0.0, sum / static_cast<double>(text.size()))));
  return result;
}

Result<std::vector<float>> cached_sensitivity(const std::string& folder, runtime::Engine& engine,
                                              const std::shared_ptr<cache::MemoryPool>& pool,
                                              std::span<const int32_t> text, const SensitivityOptions& options) {
  const std::string path = folder + "/" + measurement_digest(engine.model(), text, options).hex() + ".sensitivity";
  std::vector<float> numbers = read_numbers(path, engine.model().cache_shape().layers.size());
  if (!numbers.empty()) return numbers;
  RECALLD_ASSIGN_OR_RETURN(const LayerSensitivity measured, measure_sensitivity(engine, pool, text, options));
  RECALLD_RETURN_IF_ERROR(write_numbers(path, measured.s));
  return measured.s;
}

}  // namespace recalld::episodes
