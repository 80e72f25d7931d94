#include "bench/recall/arms/streaming_arm.h"

#include <algorithm>

#include "base/clock.h"
#include "bench/recall/arms/policy_arms.h"
#include "bench/recall/arms/segment_choice.h"
#include "episodes/trunk.h"

namespace recalld::bench {
namespace {

class StreamingArm final : public Arm {
 public:
  explicit StreamingArm(int budget) : budget_(budget), in_window_(make_policy_arm(name_, budget)) {}
  const std::string& name() const override { return name_; }
  int budget() const override { return budget_; }
  std::string settings() const override { return in_window_->settings(); }

  Result<BuildCost> build(const ArmContext& context) override {
    fits_ = check_fits_window(*context.history, *context.engine).ok();
    if (fits_) return in_window_->build(context);
    const int64_t started = SystemClock().monotonic_ns();
    const cache::CacheShape& shape = context.engine->model().cache_shape();
    RECALLD_ASSIGN_OR_RETURN(const auto codec, quant::make_codec("none16"));
    episodes::TrunkOptions options{.segments = {.turns = 1},
                                   .reading = episodes::ReadingPolicy::kRecent,
                                   .block_tokens = std::max(16, budget_ / 4),
                                   .recent_tokens = budget_,
                                   .pinned_tokens = kSinks,
                                   .view_tokens = budget_,
                                   .window_tokens = context.engine->context()};
    options.plan.layers.assign(shape.layers.size(), codec);
    RECALLD_RETURN_IF_ERROR(episodes::check_trunk_options(options));
    options.fingerprint = episodes::trunk_fingerprint(context.engine->model().fingerprint(), "plain", options);
    episodes::Trunk trunk(shape, context.pool, options);
    RECALLD_RETURN_IF_ERROR(episodes::read_turns(trunk, *context.engine, trunk_turns(*context.history)));
    std::vector<retrieval::PageGroup> groups = trunk.groups();
    RECALLD_ASSIGN_OR_RETURN(const std::vector<retrieval::PageGroup> tail, trunk.tail());
    groups.insert(groups.end(), tail.begin(), tail.end());
    view_ = retrieval::compose(groups, retrieval::choose_recent(groups, budget_), shape.layers.size());
    return BuildCost{static_cast<int64_t>(context.history->tokens.size()), view_.bytes(),
                     static_cast<double>(SystemClock().monotonic_ns() - started) / 1e9};
  }

  Result<Composed> compose(const Asked& asked) override {
    if (fits_) return in_window_->compose(asked);
    Composed composed;
    composed.view = view_;
    return composed;
  }

 private:
  static constexpr int32_t kSinks = 4;

  std::string name_ = "streamingllm";
  int budget_;
  std::unique_ptr<Arm> in_window_;
  bool fits_ = true;
  cache::View view_;
};

}  // namespace

std::unique_ptr<Arm> make_streaming_arm(int budget) { return std::make_unique<StreamingArm>(budget); }

}  // namespace recalld::bench
