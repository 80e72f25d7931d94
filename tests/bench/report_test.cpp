#include <gtest/gtest.h>

#include "bench/recall/plot.h"
#include "bench/recall/summary.h"
#include "bench/recall/table.h"

namespace recalld::bench {
namespace {

ArmResults arm(const std::string& name, int budget, const std::vector<double>& nlls, int64_t run = 1) {
  ArmResults results{.name = name, .budget = budget};
  for (size_t i = 0; i < nlls.size(); ++i)
    results.questions.push_back({.conversation = static_cast<int>(i % 2),
                                 .record = {.key = name,
                                            .question = static_cast<int>(i),
                                            .nll = nlls[i],
                                            .survival = 0.5,
                                            .covered = i % 2 == 0,
                                            .view_tokens = 100,
                                            .bytes_touched = 10'000,
                                            .first_token_ms = name == "ours" ? 10.0 : 50.0,
                                            .run = run}});
  for (int i = 0; i < 2; ++i)
    results.builds.push_back(
        {.key = name, .history_tokens = 1000, .tokens_read = 1500, .bytes_held = 20'000, .seconds = 0.95, .run = run});
  return results;
}

ModelResults sample() {
  return {.label = "smollm2",
          .file = "SmolLM2.gguf",
          .f16_bytes_per_token = 100,
          .conversations = {"a", "b"},
          .arms = {arm("full", 0, {4, 4, 4, 4}), arm("none", 0, {5, 5, 5, 5}), arm("ours", 512, {3.5, 3.5, 3.5, 4.5}),
                   arm("text_rag", 512, {4, 4, 4, 4}, 2)}};
}

TEST(Summary, MeasuresAgainstNoneAndFull) {
  const ModelSummary summary = summarize(sample(), {});
  EXPECT_EQ(summary.reference, "full");
  ASSERT_EQ(summary.arms.size(), 4U);
  EXPECT_DOUBLE_EQ(*summary.arms[0].recovery, 1);
  EXPECT_DOUBLE_EQ(*summary.arms[1].recovery, 0);
  const ArmSummary& ours = summary.arms[2];
  EXPECT_DOUBLE_EQ(ours.nll, 3.75);
  EXPECT_DOUBLE_EQ(*ours.recovery, 1.25);
  EXPECT_DOUBLE_EQ(ours.better_than_full, 0.75);
  EXPECT_DOUBLE_EQ(ours.coverage, 0.5);
  EXPECT_DOUBLE_EQ(ours.build_tokens, 1.5);
  EXPECT_DOUBLE_EQ(ours.touched_share, 0.1);
  EXPECT_DOUBLE_EQ(ours.held_share, 0.2);
  EXPECT_LT(ours.recovery_questions.low, 1.25);
  EXPECT_GT(ours.recovery_questions.high, 1.25);
}

TEST(Summary, ComparesTimesOfOneRunOnly) {
  const ModelSummary summary = summarize(sample(), {});
  EXPECT_DOUBLE_EQ(*summary.cold_to_ours, 100) << "950 ms of reading and 50 of the question, against 10";
  EXPECT_FALSE(summary.text_rag_to_ours.has_value()) << "another run";
}

TEST(Summary, WithoutFullTheEvidenceIsOne) {
  ModelResults results = sample();
  results.arms[0] = arm("evidence_text", 0, {3, 3, 3, 3});
  const ModelSummary summary = summarize(results, {});
  EXPECT_EQ(summary.reference, "evidence_text");
  EXPECT_DOUBLE_EQ(*summary.arms[2].recovery, 1.25 / 2);
}

TEST(Table, ShowsEveryArm) {
  const std::string table = markdown({}, {summarize(sample(), {})});
  EXPECT_NE(table.find("| ours 512 | 3.750 | 1.25 ("), std::string::npos) << table;
  EXPECT_NE(table.find("10 KiB (1/10.0)"), std::string::npos) << table;
  EXPECT_EQ(spoken_bytes(150e6), "143 MiB");
}

TEST(Plot, IsAnSvgWithEveryArm) {
  const std::string svg = svg_plot({summarize(sample(), {})});
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  for (const char* name : {"ours 512", "text_rag 512", "full", "recovery (1 = full)"})
    EXPECT_NE(svg.find(name), std::string::npos) << name;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace recalld::bench
