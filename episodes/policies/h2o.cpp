#include "episodes/policies/h2o.h"

namespace recalld::episodes {
namespace {

class H2o final : public EvictionPolicy {
 public:
  explicit H2o(const H2oOptions& options) : options_(options) {}

  const std::string& name() const override { return name_; }
  Selection selection() const override { return Selection::kPerHead; }
  int32_t min_budget() const override { return 2; }
  bool scores_every_block() const override { return true; }

  Observation observe(std::span<const int32_t> /*block*/, int32_t start) override {
    Observation observation;
    observation.source = Observation::Source::kBlock;
    observation.first_query = start;
    observation.reduce = kernels::WeightReduce::kSum;
    return observation;
  }

  void score(const LayerEntries& entries, LayerScores& scores) override {
    const auto recent = static_cast<int32_t>(options_.recent_share * entries.budget);
    for (size_t head = 0; head < entries.heads.size(); ++head) {
      const HeadEntries& from = entries.heads[head];
      for (size_t i = 0; i < from.positions.size(); ++i) {
        const float mass = from.carried[i] + from.weights[i];
        scores.carried[head][i] = mass;
        scores.keep[head][i] = from.positions[i] >= entries.end - recent ? kProtected : mass;
      }
    }
  }

 private:
  std::string name_ = "h2o";
  H2oOptions options_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_h2o(const H2oOptions& options) { return std::make_unique<H2o>(options); }

}  // namespace recalld::episodes
