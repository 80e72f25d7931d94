#include "bench/recall/summary.h"

#include <algorithm>
#include <map>
#include <utility>

namespace recalld::bench {
namespace {

using Place = std::pair<int, int>;  // conversation, question
using ByPlace = std::map<Place, const QuestionRecord*>;

ByPlace by_place(const ArmResults* arm) {
  ByPlace map;
  if (arm != nullptr)
    for (const ArmResults::Item& item : arm->questions) map[{item.conversation, item.record.question}] = &item.record;
  return map;
}

const ArmResults* find(const ModelResults& results, const std::string& name) {
  const ArmResults* found = nullptr;
  for (const ArmResults& arm : results.arms)
    if (arm.name == name && !arm.questions.empty()) found = &arm;
  return found;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

class Summarizer {
 public:
  Summarizer(const ModelResults& results, const BootstrapOptions& options) : results_(results), options_(options) {
    const bool has_full = find(results, "full") != nullptr;
    reference_name_ = has_full ? "full" : "evidence_text";
    none_ = by_place(find(results, "none"));
    reference_ = by_place(find(results, reference_name_));
    full_ = by_place(find(results, "full"));
  }

  const std::string& reference_name() const { return reference_name_; }

  ArmSummary arm(const ArmResults& arm) const {
    ArmSummary summary{.name = arm.name, .budget = arm.budget, .questions = static_cast<int>(arm.questions.size())};
    const auto n = static_cast<double>(arm.questions.size());
    std::vector<RatioSample> samples;
    std::vector<double> times;
    double better = 0, compared = 0, kl = 0, n_kl = 0, f1_locomo = 0, f1_epicache = 0, n_answers = 0;
    for (const ArmResults::Item& item : arm.questions) {
      const QuestionRecord& record = item.record;
      const Place place{item.conversation, record.question};
      summary.nll += record.nll / n;
      summary.survival += record.survival / n;
      summary.coverage += (record.covered ? 1 : 0) / n;
      summary.tokens += static_cast<double>(record.view_tokens + record.text_tokens) / n;
      summary.bytes_touched += static_cast<double>(record.bytes_touched) / n;
      times.push_back(record.first_token_ms);
      if (record.kl.has_value()) kl += *record.kl, ++n_kl;
      if (record.answer.has_value()) f1_locomo += record.f1_locomo, f1_epicache += record.f1_epicache, ++n_answers;
      if (const auto full = full_.find(place); full != full_.end()) {
        ++compared;
        better += record.nll < full->second->nll ? 1 : 0;
      }
      const auto none = none_.find(place), reference = reference_.find(place);
      if (none != none_.end() && reference != reference_.end())
        samples.push_back({.numerator = none->second->nll - record.nll,
                           .denominator = none->second->nll - reference->second->nll,
                           .cluster = item.conversation});
    }
    if (!samples.empty()) {
      summary.recovery = ratio_of_means(samples);
      summary.recovery_questions = bootstrap(samples, options_);
      summary.recovery_conversations = cluster_bootstrap(samples, options_);
    }
    if (compared > 0) summary.better_than_full = better / compared;
    if (n_kl > 0) summary.kl = kl / n_kl;
    if (n_answers > 0) summary.f1_locomo = f1_locomo / n_answers, summary.f1_epicache = f1_epicache / n_answers;
    summary.first_token_ms = median(std::move(times));
    add_build(arm, &summary);
    return summary;
  }

  // The history's full cache in 16 bits, without headers; mean over conversations.
  double f16_bytes() const {
    double sum = 0, n = 0;
    for (const ArmResults& arm : results_.arms) {
      if (arm.builds.size() <= n) continue;
      sum = 0;
      n = static_cast<double>(arm.builds.size());
      for (const BuildRecord& build : arm.builds)
        sum += static_cast<double>(build.history_tokens) * static_cast<double>(results_.f16_bytes_per_token);
    }
    return n == 0 ? 0 : sum / n;
  }

  std::optional<double> text_rag_to_ours() const {
    const ByPlace ours = by_place(find(results_, "ours"));
    std::vector<double> ratios;
    for (const auto& [place, text] : by_place(find(results_, "text_rag")))
      if (const auto own = ours.find(place); own != ours.end() && own->second->run == text->run)
        ratios.push_back(text->first_token_ms / own->second->first_token_ms);
    return ratios.empty() ? std::nullopt : std::optional(median(std::move(ratios)));
  }

  std::optional<double> cold_to_ours() const {
    const ByPlace ours = by_place(find(results_, "ours"));
    const ArmResults* full = find(results_, "full");
    if (full == nullptr) return std::nullopt;
    std::vector<double> ratios;
    for (const auto& [place, record] : full_) {
      const auto own = ours.find(place);
      if (own == ours.end() || own->second->run != record->run) continue;
      for (const BuildRecord& build : full->builds)
        if (build.key == record->key && build.run == record->run)
          ratios.push_back((build.seconds * 1000 + record->first_token_ms) / own->second->first_token_ms);
    }
    return ratios.empty() ? std::nullopt : std::optional(median(std::move(ratios)));
  }

 private:
  void add_build(const ArmResults& arm, ArmSummary* summary) const {
    double held = 0, read = 0, history = 0;
    for (const BuildRecord& build : arm.builds) {
      held += static_cast<double>(build.bytes_held);
      read += static_cast<double>(build.tokens_read);
      history += static_cast<double>(build.history_tokens);
    }
    if (history == 0) return;
    const double full_bytes = history * static_cast<double>(results_.f16_bytes_per_token);
    summary->bytes_held = held / static_cast<double>(arm.builds.size());
    summary->held_share = held / full_bytes;
    summary->build_tokens = read / history;
    summary->touched_share = summary->bytes_touched * static_cast<double>(arm.builds.size()) / full_bytes;
  }

  const ModelResults& results_;
  const BootstrapOptions& options_;
  std::string reference_name_;
  ByPlace none_, reference_, full_;
};

}  // namespace

ModelSummary summarize(const ModelResults& results, const BootstrapOptions& options) {
  const Summarizer summarizer(results, options);
  ModelSummary summary{.label = results.label,
                       .file = results.file,
                       .conversations = results.conversations,
                       .left_out = results.left_out,
                       .reference = summarizer.reference_name(),
                       .f16_bytes = summarizer.f16_bytes(),
                       .cold_to_ours = summarizer.cold_to_ours(),
                       .text_rag_to_ours = summarizer.text_rag_to_ours()};
  for (const ArmResults& arm : results.arms)
    if (!arm.questions.empty()) summary.arms.push_back(summarizer.arm(arm));
  return summary;
}

}  // namespace recalld::bench
