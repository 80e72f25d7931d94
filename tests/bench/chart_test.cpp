#include "bench/codecs/chart.h"

#include <gtest/gtest.h>

#include <cmath>

#include "bench/svg.h"

namespace recalld::bench {
namespace {

Quality cache(const std::string& name, double bits, double kl) {
  return {.name = name, .bits = bits, .bits_pages = bits, .kl = kl};
}

const std::vector<Quality> kCaches = {cache("f16", 16, 0), cache("q8_0", 8.5, 0.003), cache("q4_0", 4.5, 0.04),
                                      cache("turboquant-4", 4.5, 0.005), cache("calibrated-2", 2.5, 0.02)};

TEST(Chart, TheFrontIsWhatNothingBeats) {
  EXPECT_EQ(pareto_front(kCaches), (std::vector<size_t>{4, 3, 1})) << "q4_0 is beaten at its own bits";
  EXPECT_TRUE(pareto_front({}).empty());
}

TEST(Chart, TableHasARowPerCache) {
  const std::vector<QualityRun> runs = {{"model.gguf", "prose", 8000, kCaches}};
  const std::string table = quality_markdown(runs);
  EXPECT_NE(table.find("**model.gguf, prose** -- 8000 tokens"), std::string::npos) << table;
  EXPECT_NE(table.find("| calibrated-2 | 2.50 | 2.50 | 0.0200 |"), std::string::npos) << table;
}

TEST(Chart, PlotIsAnSvgWithAPanelPerRun) {
  const std::vector<QualityRun> runs = {{"model.gguf", "prose", 8000, kCaches}, {"model.gguf", "chat", 8000, kCaches}};
  const std::string svg = quality_plot(runs);
  EXPECT_TRUE(svg.starts_with("<svg"));
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  for (const char* text : {"model.gguf, prose", "model.gguf, chat", "calibrated-2", "q4_0"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  EXPECT_EQ(svg.find(">f16<"), std::string::npos) << "the reference is not told from itself";
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(Chart, LabelsOfManyPointsInOnePlaceAreSetUnderOneAnother) {
  std::vector<SvgLabel> placed;
  for (int i = 0; i < 200; ++i) place_label(i % 7 * 10.1, 200.1 + i % 11 * 0.7, 110, 12, &placed);
  for (size_t i = 0; i < placed.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_TRUE(std::abs(placed[i].x - placed[j].x) >= 110 || std::abs(placed[i].y - placed[j].y) >= 11.4);
}

}  // namespace
}  // namespace recalld::bench
