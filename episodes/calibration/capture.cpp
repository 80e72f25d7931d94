#include "episodes/calibration/capture.h"

#include <algorithm>

#include "cache/attention_observer.h"
#include "cache/memory_pool.h"
#include "cache/sequence.h"

namespace recalld::episodes {
namespace {

constexpr size_t kBlock = 128;

class QueryRecorder final : public cache::AttentionObserver {
 public:
  QueryRecorder(const cache::CacheShape& shape, Capture* to) : shape_(shape), to_(to) {}

  void on_queries(int layer, const float* q, int32_t n_tokens, int32_t, int ith, int) override {
    if (ith != 0) return;
    const cache::LayerShape& dims = shape_.layers[static_cast<size_t>(layer)];
    std::vector<float>& rows = to_->layers[static_cast<size_t>(layer)].q;
    rows.insert(
        rows.end(), q,
        q + static_cast<size_t>(n_tokens) * static_cast<size_t>(dims.n_heads) * static_cast<size_t>(dims.head_dim));
  }

 private:
  const cache::CacheShape& shape_;
  Capture* to_;
};

}  // namespace

Result<Capture> capture(runtime::Engine& engine, std::span<const int32_t> tokens,
                        const std::function<void(int32_t)>& on_token) {
  const cache::CacheShape& shape = engine.model().cache_shape();
  Capture result;
  result.n_tokens = static_cast<int32_t>(tokens.size());
  result.layers.resize(shape.layers.size());
  QueryRecorder recorder(shape, &result);
  cache::Sequence sequence(shape, cache::MemoryPool::create(0));
  sequence.set_observer(&recorder);
  std::vector<float> states;
  for (size_t first = 0; first < tokens.size(); first += kBlock) {
    // States of all tokens, so that the last layer attends for all of them.
    const runtime::StepRequest request{&sequence, tokens.subspan(first, std::min(kBlock, tokens.size() - first)),
                                       runtime::Outputs::kAll, nullptr, &states};
    RECALLD_RETURN_IF_ERROR(engine.step({&request, 1}));
    on_token(sequence.length());
  }
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    const cache::LayerShape& dims = shape.layers[layer];
    LayerCapture& to = result.layers[layer];
    to.k.resize(tokens.size() * static_cast<size_t>(dims.n_kv_heads) * static_cast<size_t>(dims.head_dim));
    to.v.resize(to.k.size());
    RECALLD_RETURN_IF_ERROR(sequence.read_rows(static_cast<int>(layer), 0, result.n_tokens, to.k.data(), to.v.data()));
  }
  return result;
}

}  // namespace recalld::episodes
