#include "bench/recall/arms/policy_arms.h"

#include <algorithm>

#include "base/clock.h"
#include "episodes/policies/policies.h"

namespace recalld::bench {
namespace {

// The block size that EpiCache's comparison uses by default.
constexpr int32_t kBlockTokens = 2048;

double seconds_since(int64_t started_ns) {
  return static_cast<double>(SystemClock().monotonic_ns() - started_ns) / 1e9;
}

class PolicyArm final : public Arm {
 public:
  PolicyArm(std::string name, int budget) : name_(std::move(name)), budget_(budget) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override { return "1 block=" + std::to_string(kBlockTokens); }

  Result<BuildCost> build(const ArmContext& context) override {
    RECALLD_RETURN_IF_ERROR(check_fits_window(*context.history, *context.engine));
    const int64_t started = SystemClock().monotonic_ns();
    history_ = context.history;
    shape_ = &context.engine->model().cache_shape();
    RECALLD_ASSIGN_OR_RETURN(const auto policy, episodes::make_policy(name_, *context.tokenizer));
    episodes::PrefillOptions options{.budget = budget_, .block_tokens = kBlockTokens};
    auto cache = episodes::evicting_prefill(*context.engine, context.pool, history_->tokens, *policy, options);
    if (cache.status().code() == StatusCode::kTooLarge) {
      // KVzip reads each block again after it: with the history's last block the window may be a little too short.
      options.block_tokens = kBlockTokens / 2;
      cache = episodes::evicting_prefill(*context.engine, context.pool, history_->tokens, *policy, options);
    }
    RECALLD_RETURN_IF_ERROR(cache.status());
    cache_ = std::move(cache).value();
    return BuildCost{cache_.build_tokens, cache_.bytes(), seconds_since(started)};
  }

  Result<Composed> compose(const Asked& asked) override {
    Composed composed;
    composed.view = cache_.view;
    composed.survival = evidence_kept(cache_, *shape_, history_->words_of(asked.question.evidence));
    return composed;
  }

 private:
  std::string name_;
  int budget_;
  const History* history_ = nullptr;
  const cache::CacheShape* shape_ = nullptr;
  episodes::PolicyCache cache_;
};

}  // namespace

double evidence_kept(const episodes::PolicyCache& cache, const cache::CacheShape& shape,
                     const std::vector<TokenRange>& evidence) {
  double kept = 0, all = 0;
  for (const TokenRange& range : evidence) {
    const auto n = static_cast<double>(range.n);
    kept += n * episodes::survival(cache, shape, static_cast<int32_t>(range.first), static_cast<int32_t>(range.end()));
    all += n;
  }
  return all == 0 ? 0 : kept / all;
}

std::unique_ptr<Arm> make_policy_arm(const std::string& name, int budget) {
  return std::make_unique<PolicyArm>(name, budget);
}

}  // namespace recalld::bench
