#include "bench/recall/figures.h"

#include <algorithm>

namespace recalld::bench {
namespace {

void add_arm(const ArmSummary& arm, const ModelSummary& model, const std::string& end, Report* report) {
  const auto add = [&](const std::string& figure, double value, const std::string& unit,
                       const std::string& against = "") { report->add(figure + end, value, unit, against); };
  if (arm.recovery.has_value()) {
    add("recovery_", *arm.recovery, "", "1 = " + model.reference);
    add("recovery_low_", arm.recovery_questions.low, "", "95 % over questions");
    add("recovery_high_", arm.recovery_questions.high, "", "95 % over questions");
  }
  add("nll_", arm.nll, "nats", "gold answer, per token");
  if (model.reference == "full") add("better_than_full_", arm.better_than_full, "", "share of questions");
  if (arm.kl.has_value()) add("kl_", *arm.kl, "nats", "full");
  add("coverage_", arm.coverage, "", "share of questions with all evidence in the view");
  add("survival_", arm.survival, "", "share of evidence tokens in the view");
  add("tokens_", arm.tokens, "tokens", "in the view");
  add("bytes_touched_", arm.bytes_touched, "bytes", "per question");
  add("bytes_held_", arm.bytes_held, "bytes", "whole session");
  add("touched_share_", arm.touched_share, "", "full cache in 16 bits");
  add("held_share_", arm.held_share, "", "full cache in 16 bits");
  add("build_tokens_", arm.build_tokens, "tokens", "per history token");
  add("ttft_", arm.first_token_ms, "ms", "median");
  if (arm.f1_locomo.has_value()) {
    add("f1_locomo_", *arm.f1_locomo, "", "LoCoMo's scorer");
    add("f1_epicache_", *arm.f1_epicache, "", "EpiCache's scorer");
  }
}

}  // namespace

void add_figures(const Options& options, const std::vector<ModelSummary>& models, Report* report) {
  const int largest = options.budgets.empty() ? 0 : *std::max_element(options.budgets.begin(), options.budgets.end());
  for (const ModelSummary& model : models) {
    report->add("bytes_full_f16_" + model.label, model.f16_bytes, "bytes", "mean over conversations");
    for (const ArmSummary& arm : model.arms) {
      const std::string end = arm.name + "_" + model.label;
      if (arm.budget == 0 || arm.budget == largest) add_arm(arm, model, end, report);
      if (arm.budget != 0) add_arm(arm, model, end + "_" + std::to_string(arm.budget), report);
    }
    if (model.text_rag_to_ours.has_value())
      report->add("ttft_text_rag_to_ours_" + model.label, *model.text_rag_to_ours, "x", "median over questions");
    if (model.cold_to_ours.has_value())
      report->add("ttft_cold_to_ours_" + model.label, *model.cold_to_ours, "x", "median over questions");
  }
}

}  // namespace recalld::bench
