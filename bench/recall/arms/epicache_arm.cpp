#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>

#include "base/clock.h"
#include "bench/recall/arms/policy_arms.h"
#include "episodes/policies/epicache.h"
#include "episodes/policies/layer_budgets.h"
#include "episodes/policies/layer_sensitivity.h"
#include "episodes/spherical_kmeans.h"
#include "runtime/gguf_encoder.h"

namespace recalld::bench {
namespace {

constexpr int32_t kBlockTokens = 2048;

struct Clusters {
  std::vector<std::vector<float>> centroids;
  std::vector<std::vector<int>> members;  // segments, ascending
};

float dot(std::span<const float> a, std::span<const float> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0F);
}

class EpiCacheArm final : public Arm {
 public:
  EpiCacheArm(std::string name, int budget, EpiCacheArmOptions options)
      : name_(std::move(name)), budget_(budget), options_(std::move(options)) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override {
    return "1 E=" + std::to_string(options_.episodes) + " reps=" + std::to_string(options_.segments_per_prompt) +
           " block=" + std::to_string(kBlockTokens) + (options_.calibration.empty() ? "" : " layers");
  }

  Result<BuildCost> build(const ArmContext& context) override {
    RECALLD_RETURN_IF_ERROR(check_fits_window(*context.history, *context.engine));
    history_ = context.history;
    shape_ = &context.engine->model().cache_shape();
    RECALLD_ASSIGN_OR_RETURN(encoder_, runtime::open_gguf_encoder(options_.encoder));
    episodes::PrefillOptions prefill{.budget = budget_, .block_tokens = kBlockTokens};
    RECALLD_ASSIGN_OR_RETURN(prefill.layer_budgets, layer_budgets(context));
    const int64_t started = SystemClock().monotonic_ns();
    RECALLD_RETURN_IF_ERROR(cluster());
    std::vector<std::vector<int32_t>> prompts;
    for (const std::vector<int>& members : clusters_.members)
      prompts.push_back(episodes::episode_prompt(*context.tokenizer, representatives(prompts.size(), members)));
    RECALLD_ASSIGN_OR_RETURN(
        caches_, episodes::build_epicache(*context.engine, context.pool, history_->tokens, prompts, prefill));
    BuildCost cost{.seconds = static_cast<double>(SystemClock().monotonic_ns() - started) / 1e9};
    for (const episodes::PolicyCache& cache : caches_) {
      cost.tokens_read += cache.build_tokens;
      cost.bytes_held += cache.bytes() + static_cast<size_t>(encoder_->dim()) * sizeof(float);
    }
    return cost;
  }

  Result<Composed> compose(const Asked& asked) override {
    RECALLD_ASSIGN_OR_RETURN(const std::vector<float> question, encoder_->embed(asked.question.text));
    const size_t episode = episodes::nearest_episode(question, clusters_.centroids);
    Composed composed;
    composed.view = caches_[episode].view;
    composed.survival = evidence_kept(caches_[episode], *shape_, history_->words_of(asked.question.evidence));
    composed.chosen.emplace();
    for (const int segment : clusters_.members[episode])
      composed.chosen->push_back({history_->segments[static_cast<size_t>(segment)].token_first,
                                  history_->segments[static_cast<size_t>(segment)].n_tokens});
    return composed;
  }

 private:
  Result<std::vector<int32_t>> layer_budgets(const ArmContext& context) const {
    if (options_.calibration.empty()) return std::vector<int32_t>{};
    std::ifstream in(options_.calibration, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    if (text.empty()) return not_found("'" + options_.calibration + "' cannot be read; name a text with --calibration");
    RECALLD_ASSIGN_OR_RETURN(const std::vector<float> sensitivity,
                             episodes::cached_sensitivity(options_.folder, *context.engine, context.pool,
                                                          context.tokenizer->tokenize(text)));
    return episodes::layer_budgets(*shape_, sensitivity, budget_);
  }

  Status cluster() {
    vectors_.clear();
    std::vector<float> units;
    for (const retrieval::Segment& segment : history_->segments) {
      RECALLD_ASSIGN_OR_RETURN(std::vector<float> vector, encoder_->embed(segment.text));
      units.insert(units.end(), vector.begin(), vector.end());
      vectors_.push_back(std::move(vector));
    }
    const auto n = static_cast<int32_t>(vectors_.size());
    const int32_t k = std::min<int32_t>(options_.episodes, n);
    RECALLD_ASSIGN_OR_RETURN(const episodes::KMeans found,
                             episodes::spherical_kmeans(units, encoder_->dim(), k, {.restarts = 10, .seed = 42}));
    const auto dim = static_cast<size_t>(encoder_->dim());
    for (int32_t c = 0; c < k; ++c) {
      std::vector<int> members;
      for (int32_t i = 0; i < n; ++i)
        if (found.assignment[static_cast<size_t>(i)] == c) members.push_back(i);
      if (members.empty()) continue;
      const auto first = found.centroids.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(c) * dim);
      clusters_.centroids.emplace_back(first, first + static_cast<ptrdiff_t>(dim));
      clusters_.members.push_back(std::move(members));
    }
    return ok_status();
  }

  // The texts of the segments closest to the centroid, in the order of the conversation.
  std::vector<std::string> representatives(size_t cluster, std::vector<int> members) const {
    const std::vector<float>& centroid = clusters_.centroids[cluster];
    std::stable_sort(members.begin(), members.end(), [&](int a, int b) {
      return dot(vectors_[static_cast<size_t>(a)], centroid) > dot(vectors_[static_cast<size_t>(b)], centroid);
    });
    members.resize(std::min(members.size(), static_cast<size_t>(options_.segments_per_prompt)));
    std::sort(members.begin(), members.end());
    std::vector<std::string> texts;
    for (const int i : members) texts.push_back(history_->segments[static_cast<size_t>(i)].text);
    return texts;
  }

  std::string name_;
  int budget_;
  EpiCacheArmOptions options_;
  const History* history_ = nullptr;
  const cache::CacheShape* shape_ = nullptr;
  std::unique_ptr<runtime::TextEncoder> encoder_;
  std::vector<std::vector<float>> vectors_;  // of segments
  Clusters clusters_;
  std::vector<episodes::PolicyCache> caches_;
};

}  // namespace

std::unique_ptr<Arm> make_epicache_arm(const std::string& name, int budget, const EpiCacheArmOptions& options) {
  return std::make_unique<EpiCacheArm>(name, budget, options);
}

}  // namespace recalld::bench
