#include "episodes/policies/none.h"

namespace recalld::episodes {
namespace {

class None final : public EvictionPolicy {
 public:
  const std::string& name() const override { return name_; }
  Selection selection() const override { return Selection::kEverything; }
  void score(const LayerEntries&, LayerScores&) override {}

 private:
  std::string name_ = "none";
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_none() { return std::make_unique<None>(); }

}  // namespace recalld::episodes
