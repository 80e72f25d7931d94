#include "bench/recall/bootstrap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace recalld::bench {
namespace {

TEST(Bootstrap, RatioOfMeansIsNotTheMeanOfRatios) {
  const std::vector<RatioSample> samples{{1, 1}, {3, 9}};
  EXPECT_DOUBLE_EQ(ratio_of_means(samples), 0.4);
  EXPECT_DOUBLE_EQ(ratio_of_means({}), 0);
}

TEST(Bootstrap, EqualSeedsGiveEqualIntervals) {
  std::vector<RatioSample> samples;
  for (int i = 0; i < 30; ++i) samples.push_back({static_cast<double>(i % 7), 2.0 + i % 3, i % 4});
  const Interval a = bootstrap(samples, {}), b = bootstrap(samples, {}), c = bootstrap(samples, {.seed = 2});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_TRUE(a.low != c.low || a.high != c.high);
  EXPECT_LT(a.low, ratio_of_means(samples));
  EXPECT_GT(a.high, ratio_of_means(samples));
}

TEST(Bootstrap, WidthOfAMeanIsThatOfTheNormalDistribution) {
  std::mt19937_64 random(7);
  std::vector<RatioSample> samples;
  double mean = 0, squares = 0;
  constexpr int kCount = 400;
  for (int i = 0; i < kCount; ++i) {
    const double value = static_cast<double>(random() % 1000) / 1000;
    samples.push_back({value, 1});
    mean += value / kCount;
    squares += value * value / kCount;
  }
  const double standard_error = std::sqrt((squares - mean * mean) / kCount);
  const Interval interval = bootstrap(samples, {});
  EXPECT_NEAR(interval.low, mean - 1.96 * standard_error, 0.15 * standard_error);
  EXPECT_NEAR(interval.high, mean + 1.96 * standard_error, 0.15 * standard_error);
}

TEST(Bootstrap, ClustersThatDifferMakeItWider) {
  std::vector<RatioSample> samples;
  for (int i = 0; i < 100; ++i) samples.push_back({i % 5 < 2 ? 1.0 : 0.0, 1, i % 5});
  const Interval questions = bootstrap(samples, {}), conversations = cluster_bootstrap(samples, {});
  EXPECT_GT(conversations.high - conversations.low, 2 * (questions.high - questions.low));
}

TEST(Bootstrap, OneClusterHasNoWidth) {
  const std::vector<RatioSample> samples{{1, 2, 0}, {2, 2, 0}};
  const Interval interval = cluster_bootstrap(samples, {});
  EXPECT_DOUBLE_EQ(interval.low, 0.75);
  EXPECT_DOUBLE_EQ(interval.high, 0.75);
}

}  // namespace
}  // namespace recalld::bench
