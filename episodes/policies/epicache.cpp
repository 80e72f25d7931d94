#include "episodes/policies/epicache.h"

#include <cmath>

#include "episodes/policies/scoring_text.h"

namespace recalld::episodes {
namespace {

class EpiCache final : public EvictionPolicy {
 public:
  explicit EpiCache(EpiCacheOptions options) : options_(std::move(options)) {}

  const std::string& name() const override { return name_; }
  Selection selection() const override { return options_.selection; }

  Observation observe(std::span<const int32_t> /*block*/, int32_t /*start*/) override {
    Observation observation;
    observation.source = Observation::Source::kText;
    observation.text = options_.prompt;
    return observation;
  }

  void score(const LayerEntries& entries, LayerScores& scores) override { keep_by_weight(entries, scores); }

 private:
  std::string name_ = "epicache";
  EpiCacheOptions options_;
};

double cosine(std::span<const float> a, std::span<const float> b) {
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size() && i < b.size(); ++i) {
    dot += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0;
}

}  // namespace

std::unique_ptr<EvictionPolicy> make_epicache(EpiCacheOptions options) {
  return std::make_unique<EpiCache>(std::move(options));
}

std::vector<int32_t> episode_prompt(const runtime::Tokenizer& tokenizer, std::span<const std::string> segments,
                                    std::string_view turn_boundary) {
  std::string text;
  for (const std::string& segment : segments) text += (text.empty() ? "" : "\n\n") + segment;
  const std::vector<runtime::TextSegment> parts{
      {std::string(kEpisodeInstruction), false}, {std::string(turn_boundary), true}, {text, false}};
  return tokenizer.tokenize(parts);
}

Result<std::vector<PolicyCache>> build_epicache(runtime::Engine& engine, const std::shared_ptr<cache::MemoryPool>& pool,
                                                std::span<const int32_t> history,
                                                std::span<const std::vector<int32_t>> prompts,
                                                const PrefillOptions& options, Selection selection,
                                                const std::atomic<bool>* cancel) {
  std::vector<PolicyCache> caches;
  for (const std::vector<int32_t>& prompt : prompts) {
    if (prompt.empty()) return invalid_argument("an episode without a prompt");
    EpiCache policy({prompt, selection});
    RECALLD_ASSIGN_OR_RETURN(PolicyCache cache, evicting_prefill(engine, pool, history, policy, options, cancel));
    caches.push_back(std::move(cache));
  }
  return caches;
}

size_t nearest_episode(std::span<const float> question, std::span<const std::vector<float>> centroids) {
  size_t best = 0;
  for (size_t i = 1; i < centroids.size(); ++i)
    if (cosine(question, centroids[i]) > cosine(question, centroids[best])) best = i;
  return best;
}

}  // namespace recalld::episodes
