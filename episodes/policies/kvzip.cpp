#include "episodes/policies/kvzip.h"

#include "episodes/policies/scoring_text.h"

namespace recalld::episodes {
namespace {

class Kvzip final : public EvictionPolicy {
 public:
  explicit Kvzip(KvzipOptions options) : options_(std::move(options)) {}

  const std::string& name() const override { return name_; }
  Selection selection() const override { return options_.selection; }

  Observation observe(std::span<const int32_t> block, int32_t /*start*/) override {
    Observation observation;
    observation.source = Observation::Source::kText;
    observation.text = options_.instruction;
    observation.text.insert(observation.text.end(), block.begin(), block.end());
    observation.own_keys = options_.own_keys;
    return observation;
  }

  void score(const LayerEntries& entries, LayerScores& scores) override { keep_by_weight(entries, scores); }

 private:
  std::string name_ = "kvzip";
  KvzipOptions options_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_kvzip(KvzipOptions options) { return std::make_unique<Kvzip>(std::move(options)); }

}  // namespace recalld::episodes
