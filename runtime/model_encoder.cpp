#include "runtime/model_encoder.h"

#include <algorithm>
#include <utility>

#include "cache/sequence.h"
#include "runtime/unit_vector.h"

namespace recalld::runtime {
namespace {

// Changes whenever the same model and text give another vector than before.
constexpr uint64_t kNumericsVersion = 1;
constexpr int32_t kMaxWindow = 512;

Digest128 fingerprint_of(const Model& model, int32_t window) {
  Digester digester;
  digester.add("recalld text encoder: own states");
  digester.add(kNumericsVersion);
  digester.add(model.fingerprint().low);
  digester.add(model.fingerprint().high);
  digester.add(static_cast<uint64_t>(window));
  return digester.finish();
}

class ModelEncoder final : public TextEncoder {
 public:
  ModelEncoder(Engine& engine, const Tokenizer& tokenizer, std::shared_ptr<cache::MemoryPool> pool)
      : engine_(engine),
        tokenizer_(tokenizer),
        pool_(std::move(pool)),
        window_(std::min(kMaxWindow, engine.context())),
        name_(engine.model().info().name + " (own states)"),
        fingerprint_(fingerprint_of(engine.model(), window_)) {}

  const std::string& name() const override { return name_; }
  int32_t dim() const override { return engine_.model().info().n_embd; }
  Digest128 fingerprint() const override { return fingerprint_; }

  Result<std::vector<float>> embed(std::string_view text) override {
    std::vector<float> vector(static_cast<size_t>(dim()), 0.0F);
    const std::vector<int32_t> own = tokenizer_.tokenize(text);
    if (own.empty()) return vector;
    std::vector<int32_t> tokens = tokenizer_.prompt_start();
    tokens.insert(tokens.end(), own.begin(), own.end());
    if (tokens.size() > static_cast<size_t>(window_)) tokens.resize(static_cast<size_t>(window_));
    std::vector<float> states;
    RECALLD_RETURN_IF_ERROR(read(tokens, &states));
    const size_t first = tokens.size() > 1 ? vector.size() : 0;
    for (size_t i = first; i < states.size(); ++i) vector[i % vector.size()] += states[i];
    RECALLD_RETURN_IF_ERROR(make_unit(vector).with_context("the encoder " + name_));
    return vector;
  }

 private:
  // states: [n_tokens][n_embd].
  Status read(std::span<const int32_t> tokens, std::vector<float>* states) {
    cache::Sequence sequence(engine_.model().cache_shape(), pool_);
    const StepRequest request{.sequence = &sequence, .tokens = tokens, .outputs = Outputs::kAll, .hidden = states};
    return engine_.step({&request, 1});
  }

  Engine& engine_;
  const Tokenizer& tokenizer_;
  std::shared_ptr<cache::MemoryPool> pool_;
  int32_t window_;
  std::string name_;
  Digest128 fingerprint_;
};

}  // namespace

std::unique_ptr<TextEncoder> make_model_encoder(Engine& engine, const Tokenizer& tokenizer,
                                                std::shared_ptr<cache::MemoryPool> pool) {
  return std::make_unique<ModelEncoder>(engine, tokenizer, std::move(pool));
}

}  // namespace recalld::runtime
