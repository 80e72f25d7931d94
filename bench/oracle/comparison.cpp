#include "bench/oracle/comparison.h"

#include <algorithm>

#include "cache/memory_pool.h"
#include "kernels/layout.h"

namespace recalld::bench {
namespace {

constexpr int kDefaultBlock = 512;

Status step(runtime::Engine& engine, cache::Sequence* sequence, std::span<const int32_t> tokens,
            std::vector<float>* logits) {
  const runtime::StepRequest request{
      .sequence = sequence, .tokens = tokens, .outputs = runtime::Outputs::kLast, .logits = logits};
  return engine.step({&request, 1});
}

}  // namespace

Result<std::unique_ptr<Comparison>> Comparison::create(ComparisonOptions options) {
  std::unique_ptr<Comparison> comparison(new Comparison(std::move(options)));
  RECALLD_ASSIGN_OR_RETURN(comparison->model_,
                           runtime::Model::load({.path = comparison->options_.model_path, .file = {}}));
  RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_codec("none16"));
  comparison->plan_.layers.assign(comparison->model_->cache_shape().layers.size(), codec);
  comparison->pool_ = cache::MemoryPool::create(0);
  return comparison;
}

Status Comparison::read_prompt(runtime::Engine& engine, cache::Sequence* sequence, int block,
                               std::vector<float>* logits) {
  const std::span<const int32_t> prompt(options_.prompt);
  for (size_t at = 0; at < prompt.size();) {
    const auto own = prompt.subspan(at, std::min(static_cast<size_t>(block), prompt.size() - at));
    RECALLD_RETURN_IF_ERROR(step(engine, sequence, own, logits));
    at += own.size();
    while (sequence->working_tokens() >= kernels::kMaxPageTokens) {
      const int64_t token_start = sequence->length() - sequence->working_tokens();
      const auto frozen = sequence->freeze(kernels::kMaxPageTokens, plan_, token_start, model_->fingerprint());
      RECALLD_RETURN_IF_ERROR(frozen.status());
    }
  }
  return ok_status();
}

Result<std::vector<float>> Comparison::ours() {
  RECALLD_ASSIGN_OR_RETURN(const auto engine, runtime::Engine::create(model_, {.threads = options_.threads}));
  cache::Sequence sequence(model_->cache_shape(), pool_);
  std::vector<float> row;
  RECALLD_RETURN_IF_ERROR(read_prompt(*engine, &sequence, kDefaultBlock, &row));
  std::vector<float> all = row;
  for (size_t i = 0; i + 1 < options_.continuation.size(); ++i) {
    RECALLD_RETURN_IF_ERROR(step(*engine, &sequence, {&options_.continuation[i], 1}, &row));
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

Result<std::vector<float>> Comparison::libllama(const LibllamaSettings& settings) {
  const auto n = static_cast<int32_t>(options_.prompt.size() + options_.continuation.size());
  RECALLD_ASSIGN_OR_RETURN(const auto oracle,
                           testing::LlamaOracle::open(options_.model_path, {.n_ctx = n + 256,
                                                                            .ubatch = kDefaultBlock,
                                                                            .threads = options_.threads,
                                                                            .flash_attention = settings.flash_attention,
                                                                            .f32_cache = settings.f32_cache}));
  RECALLD_ASSIGN_OR_RETURN(std::vector<float> all, oracle->read(options_.prompt, false));
  for (size_t i = 0; i + 1 < options_.continuation.size(); ++i) {
    RECALLD_ASSIGN_OR_RETURN(const auto row, oracle->read({&options_.continuation[i], 1}, false));
    all.insert(all.end(), row.begin(), row.end());
  }
  return all;
}

Result<std::vector<int32_t>> Comparison::our_greedy(int block) {
  const int n = block == 0 ? static_cast<int>(options_.prompt.size()) : block;
  RECALLD_ASSIGN_OR_RETURN(const auto engine,
                           runtime::Engine::create(model_, {.threads = options_.threads, .ubatch = n}));
  cache::Sequence sequence(model_->cache_shape(), pool_);
  std::vector<float> row;
  RECALLD_RETURN_IF_ERROR(read_prompt(*engine, &sequence, n, &row));
  std::vector<int32_t> tokens;
  while (static_cast<int>(tokens.size()) < options_.greedy_tokens) {
    tokens.push_back(testing::argmax(row));
    RECALLD_RETURN_IF_ERROR(step(*engine, &sequence, {&tokens.back(), 1}, &row));
  }
  return tokens;
}

}  // namespace recalld::bench
