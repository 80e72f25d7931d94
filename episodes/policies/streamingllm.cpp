#include "episodes/policies/streamingllm.h"

namespace recalld::episodes {
namespace {

class StreamingLlm final : public EvictionPolicy {
 public:
  explicit StreamingLlm(const StreamingLlmOptions& options) : options_(options) {}

  const std::string& name() const override { return name_; }
  Selection selection() const override { return Selection::kPerHead; }
  int32_t min_budget() const override { return options_.sinks + 1; }

  void score(const LayerEntries& entries, LayerScores& scores) override {
    for (size_t head = 0; head < entries.heads.size(); ++head) {
      const auto positions = entries.heads[head].positions;
      for (size_t i = 0; i < positions.size(); ++i)
        scores.keep[head][i] = positions[i] < options_.sinks ? kProtected : static_cast<float>(positions[i]);
    }
  }

 private:
  std::string name_ = "streamingllm";
  StreamingLlmOptions options_;
};

}  // namespace

std::unique_ptr<EvictionPolicy> make_streamingllm(const StreamingLlmOptions& options) {
  return std::make_unique<StreamingLlm>(options);
}

}  // namespace recalld::episodes
