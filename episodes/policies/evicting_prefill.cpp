#include "episodes/policies/evicting_prefill.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "episodes/policies/selection.h"

namespace recalld::episodes {
namespace {

// What a windowed layer keeps: the newest entries that a later query can see.
std::vector<std::vector<int32_t>> choose_window(const std::vector<HeadRows>& rows, int32_t window) {
  std::vector<std::vector<int32_t>> chosen;
  for (const HeadRows& head : rows) {
    const auto n = static_cast<int32_t>(head.positions.size());
    const int32_t kept = std::min(n, window);
    auto& indices = chosen.emplace_back(static_cast<size_t>(kept));
    std::iota(indices.begin(), indices.end(), n - kept);
  }
  return chosen;
}

}  // namespace

EvictingPrefill::EvictingPrefill(runtime::Engine& engine, EvictionPolicy& policy, PrefillOptions options,
                                 KeptEntries kept, std::shared_ptr<cache::MemoryPool> pool)
    : engine_(engine),
      policy_(policy),
      options_(std::move(options)),
      sequence_(engine.model().cache_shape(), std::move(pool)),
      kept_(std::move(kept)) {}

Result<std::unique_ptr<EvictingPrefill>> EvictingPrefill::create(runtime::Engine& engine,
                                                                 std::shared_ptr<cache::MemoryPool> pool,
                                                                 EvictionPolicy& policy,
                                                                 const PrefillOptions& options) {
  const cache::CacheShape& shape = engine.model().cache_shape();
  if (options.block_tokens < 1)
    return invalid_argument("a block of " + std::to_string(options.block_tokens) + " tokens; use 1 or more");
  if (!options.layer_budgets.empty() && options.layer_budgets.size() != shape.layers.size())
    return invalid_argument(std::to_string(options.layer_budgets.size()) + " layer budgets for a model of " +
                            std::to_string(shape.layers.size()) + " layers");
  RECALLD_ASSIGN_OR_RETURN(KeptEntries kept, KeptEntries::create(shape, pool, engine.model().fingerprint()));
  std::unique_ptr<EvictingPrefill> prefill(
      new EvictingPrefill(engine, policy, options, std::move(kept), std::move(pool)));
  for (size_t layer = 0; layer < shape.layers.size(); ++layer)
    if (policy.selection() != Selection::kEverything && prefill->evicts(layer) &&
        prefill->budget(layer) < policy.min_budget())
      return invalid_argument("a budget of " + std::to_string(prefill->budget(layer)) + " entries in layer " +
                              std::to_string(layer) + "; " + policy.name() + " needs " +
                              std::to_string(policy.min_budget()) + " or more");
  cache::View view;
  view.layers.resize(shape.layers.size());
  view.placement = cache::Placement::kAsRotated;
  RECALLD_RETURN_IF_ERROR(prefill->sequence_.set_view(std::move(view)));
  return prefill;
}

int32_t EvictingPrefill::budget(size_t layer) const {
  return options_.layer_budgets.empty() ? options_.budget : options_.layer_budgets[layer];
}

bool EvictingPrefill::over_budget(size_t layer, int32_t n_new) const {
  if (!evicts(layer) || policy_.selection() == Selection::kEverything) return false;
  const int64_t n_heads = shape().layers[layer].n_kv_heads;
  return kept_.count(layer) + n_heads * n_new > n_heads * budget(layer);
}

void EvictingPrefill::note_peak(int64_t n_new) {
  int64_t entries = 0;
  for (size_t layer = 0; layer < shape().layers.size(); ++layer)
    if (evicts(layer)) entries += kept_.count(layer) + n_new * shape().layers[layer].n_kv_heads;
  peak_entries_ = std::max(peak_entries_, entries);
}

// Queries of the last layer are computed only for pieces that have outputs.
Status EvictingPrefill::step(std::span<const int32_t> tokens, bool observed, const std::atomic<bool>* cancel) {
  std::vector<float> logits;
  const auto piece = static_cast<size_t>(engine_.options().ubatch);
  for (size_t first = 0; first < tokens.size(); first += piece) {
    const runtime::StepRequest request{&sequence_, tokens.subspan(first, std::min(piece, tokens.size() - first)),
                                       observed ? runtime::Outputs::kLast : runtime::Outputs::kNone, &logits};
    RECALLD_RETURN_IF_ERROR(engine_.step({&request, 1}, cancel));
  }
  build_tokens_ += static_cast<int64_t>(tokens.size());
  return ok_status();
}

Result<std::vector<std::vector<int32_t>>> EvictingPrefill::choose(size_t layer, std::vector<HeadRows>& rows,
                                                                  int32_t start, const cache::AttentionProbe* probe) {
  const cache::LayerShape& dims = shape().layers[layer];
  if (dims.window > 0) return choose_window(rows, dims.window);
  LayerEntries entries{.layer = static_cast<int32_t>(layer),
                       .head_dim = dims.head_dim,
                       .budget = budget(layer),
                       .block_start = start,
                       .end = sequence_.length(),
                       .heads = {}};
  LayerScores scores;
  for (size_t head = 0; head < rows.size(); ++head) {
    const size_t n = rows[head].positions.size();
    HeadEntries view{rows[head].positions, rows[head].keys, rows[head].values, {}, rows[head].carried};
    if (probe != nullptr) {
      const std::vector<float>& weights = probe->weights(static_cast<int>(layer), static_cast<int>(head));
      if (weights.size() < n) return internal_error("layer " + std::to_string(layer) + " was not observed");
      view.weights = std::span(weights).first(n);
    }
    entries.heads.push_back(view);
    scores.keep.emplace_back(n);
    scores.carried.emplace_back(n);
  }
  if (over_budget(layer, entries.end - start) || policy_.scores_every_block()) policy_.score(entries, scores);
  for (size_t head = 0; head < rows.size(); ++head) rows[head].carried = std::move(scores.carried[head]);
  return select_entries(scores.keep, budget(layer), policy_.selection());
}

Status EvictingPrefill::read_block(std::span<const int32_t> block, const std::atomic<bool>* cancel) {
  if (block.empty() || block.size() > static_cast<size_t>(options_.block_tokens))
    return invalid_argument("a block of " + std::to_string(block.size()) + " tokens; use 1 to " +
                            std::to_string(options_.block_tokens));
  const int32_t start = n_tokens_, end = start + static_cast<int32_t>(block.size());
  const size_t n_layers = shape().layers.size();
  bool wanted = policy_.scores_every_block();
  for (size_t layer = 0; layer < n_layers; ++layer) wanted = wanted || over_budget(layer, end - start);
  const Observation observation = wanted ? policy_.observe(block, start) : Observation{};

  std::optional<cache::AttentionProbe> probe;
  const auto watch = [&](const cache::ProbeRule& rule) {
    probe.emplace(sequence_, rule);
    sequence_.set_observer(&*probe);
  };
  const bool in_block = observation.source == Observation::Source::kBlock;
  if (in_block) watch({.reduce = observation.reduce, .first_query = observation.first_query});
  Status status = step(block, in_block, cancel);
  note_peak(end - start);
  if (status.ok() && observation.source == Observation::Source::kText) {
    cache::ProbeRule rule{.reduce = observation.reduce, .first_query = end};
    if (!observation.own_keys) rule.end_key = end;
    watch(rule);
    status = step(observation.text, true, cancel);
    note_peak(end - start + static_cast<int64_t>(observation.text.size()));
    if (status.ok()) status = sequence_.truncate(end);
  }
  sequence_.set_observer(nullptr);
  RECALLD_RETURN_IF_ERROR(std::move(status));

  for (size_t layer = 0; layer < n_layers; ++layer) {
    const auto id = static_cast<int>(layer);
    RECALLD_ASSIGN_OR_RETURN(std::vector<HeadRows> rows, kept_.gather(sequence_, id, start, end));
    RECALLD_ASSIGN_OR_RETURN(const auto chosen, choose(layer, rows, start, probe ? &*probe : nullptr));
    RECALLD_ASSIGN_OR_RETURN(std::vector<cache::PagePtr> pages, kept_.keep(id, rows, chosen));
    // At once, so that the old pages of no more than one layer live beside the new ones.
    RECALLD_RETURN_IF_ERROR(sequence_.replace_layer(id, std::move(pages)));
  }
  cache::View view = sequence_.view();
  view.query_start = end;
  n_tokens_ = end;
  return sequence_.set_view(std::move(view));
}

PolicyCache EvictingPrefill::cache() const {
  PolicyCache cache;
  cache.policy = policy_.name();
  cache.view = sequence_.view();
  cache.n_tokens = n_tokens_;
  cache.build_tokens = build_tokens_;
  cache.peak_entries = peak_entries_;
  for (size_t layer = 0; layer < shape().layers.size(); ++layer) {
    auto& heads = cache.positions.emplace_back();
    for (int32_t head = 0; head < shape().layers[layer].n_kv_heads; ++head)
      heads.push_back(kept_.positions(layer, static_cast<size_t>(head)));
  }
  return cache;
}

Result<PolicyCache> evicting_prefill(runtime::Engine& engine, std::shared_ptr<cache::MemoryPool> pool,
                                     std::span<const int32_t> history, EvictionPolicy& policy,
                                     const PrefillOptions& options, const std::atomic<bool>* cancel) {
  RECALLD_ASSIGN_OR_RETURN(const auto prefill, EvictingPrefill::create(engine, std::move(pool), policy, options));
  const auto block = static_cast<size_t>(options.block_tokens);
  for (size_t first = 0; first < history.size(); first += block)
    RECALLD_RETURN_IF_ERROR(
        prefill->read_block(history.subspan(first, std::min(block, history.size() - first)), cancel));
  return prefill->cache();
}

}  // namespace recalld::episodes
