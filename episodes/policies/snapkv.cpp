#include "episodes/policies/snapkv.h"

#include <algorithm>

namespace recalld::episodes {
namespace {

class SnapKv final : public EvictionPolicy {
 public:
  explicit SnapKv(const SnapKvOptions& options) : options_(options) {}

  const std::string& name() const override { return name_; }
  Selection selection() const override { return Selection::kPerHead; }
  int32_t min_budget() const override { return options_.in_place ? options_.window + 1 : 1; }

  Observation observe(std::span<const int32_t> block, int32_t start) override {
    const auto n = static_cast<int32_t>(block.size());
    const int32_t window = std::min(n, options_.window);
    Observation observation;
    if (options_.in_place) {
      observation.source = Observation::Source::kBlock;
      observation.first_query = start + n - window;
      observation.reduce = kernels::WeightReduce::kSum;
    } else {
      observation.source = Observation::Source::kText;
      observation.text.assign(block.end() - window, block.end());
    }
    return observation;
  }

  void score(const LayerEntries& entries, LayerScores& scores) override {
    const int32_t protect_from = options_.in_place ? entries.end - options_.window : entries.end;
    for (size_t head = 0; head < entries.heads.size(); ++head) {
      const HeadEntries& from = entries.heads[head];
      const auto prefix = static_cast<size_t>(
          std::lower_bound(from.positions.begin(), from.positions.end(), protect_from) - from.positions.begin());
      const std::vector<float> pooled =
          pool_scores(from.weights.first(prefix), options_.pooling_width, options_.pooling);
      auto& keep = scores.keep[head];
      std::copy(pooled.begin(), pooled.end(), keep.begin());
      std::fill(keep.begin() + static_cast<ptrdiff_t>(prefix), keep.end(), kProtected);
    }
  }

 private:
  std::string name_ = "snapkv";
  SnapKvOptions options_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_snapkv(const SnapKvOptions& options) { return std::make_unique<SnapKv>(options); }

}  // namespace recalld::episodes
