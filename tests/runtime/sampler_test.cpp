#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace recalld::runtime {
namespace {

std::vector<float> some_logits(int n) {
  std::vector<float> logits;
  for (int i = 0; i < n; ++i) logits.push_back(std::sin(static_cast<float>(i) * 1.7F) * 3.0F);
  return logits;
}

std::vector<int32_t> draw(const SamplerOptions& options, const std::vector<float>& logits, int n) {
  Sampler sampler = Sampler::create(options, static_cast<int32_t>(logits.size())).value();
  std::vector<int32_t> tokens;
  for (int i = 0; i < n; ++i) {
    tokens.push_back(sampler.sample(logits).value());
    sampler.accept(tokens.back());
  }
  return tokens;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowerIdOfEquals) {
  std::vector<float> logits = {0.0F, 5.0F, 2.0F, 5.0F, -1.0F};
  EXPECT_EQ(draw({.temperature = 0}, logits, 3), (std::vector<int32_t>{1, 1, 1}));
}

TEST(Sampler, SameSeedSameTokensOtherSeedOtherTokens) {
  const auto logits = some_logits(200);
  for (const uint64_t seed : {uint64_t{0}, uint64_t{42}, uint64_t{0xFFFFFFFF}, ~uint64_t{0}}) {
    EXPECT_EQ(draw({.seed = seed}, logits, 50), draw({.seed = seed}, logits, 50)) << seed;
  }
  EXPECT_NE(draw({.seed = 1}, logits, 50), draw({.seed = 2}, logits, 50));
  EXPECT_NE(draw({.seed = 1}, logits, 50), draw({.seed = uint64_t{1} << 32U | 5U}, logits, 50));
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {std::log(0.1F), std::log(0.2F), std::log(0.7F)};
  constexpr int kDraws = 20000;
  std::vector<int> counts(3);
  for (const int32_t token : draw({.seed = 3}, logits, kDraws)) ++counts[static_cast<size_t>(token)];
  // Five standard deviations of the widest count.
  const double tolerance = 5 * std::sqrt(0.7 * 0.3 * kDraws);
  EXPECT_NEAR(counts[0], 0.1 * kDraws, tolerance);
  EXPECT_NEAR(counts[1], 0.2 * kDraws, tolerance);
  EXPECT_NEAR(counts[2], 0.7 * kDraws, tolerance);
}

TEST(Sampler, TopKTopPAndMinPNarrowTheChoice) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.15F), std::log(0.05F)};
  const auto kinds = [&](SamplerOptions options) {
    const auto tokens = draw(options, logits, 2000);
    return std::set<int32_t>(tokens.begin(), tokens.end());
  };
  EXPECT_EQ(kinds({}), (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(kinds({.top_k = 2}), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(kinds({.top_p = 0.7F}), (std::set<int32_t>{0, 1}));
  EXPECT_EQ(kinds({.min_p = 0.25F}), (std::set<int32_t>{0, 1, 2}));
}

TEST(Sampler, PenaltiesPushUsedTokensBack) {
  const std::vector<float> logits = {2.0F, 1.9F, 1.8F, -5.0F};
  EXPECT_EQ(draw({.temperature = 0, .presence_penalty = 1.0F}, logits, 3), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(draw({.temperature = 0, .repeat_penalty = 1.5F}, logits, 3), (std::vector<int32_t>{0, 1, 2}));
  EXPECT_EQ(draw({.temperature = 0, .frequency_penalty = 0.05F}, logits, 3), (std::vector<int32_t>{0, 0, 0}));
}

TEST(Sampler, BadLogitsAreAnErrorNotAToken) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0F, 1.0F}) {
    Sampler sampler = Sampler::create({.temperature = temperature}, 3).value();
    EXPECT_EQ(sampler.sample(std::vector<float>{1.0F, NAN, 0.0F}).status().code(), StatusCode::kInternal);
    EXPECT_EQ(sampler.sample(std::vector<float>(3, -kInfinity)).status().code(), StatusCode::kInternal);
    EXPECT_EQ(sampler.sample(std::vector<float>(2)).status().code(), StatusCode::kInternal);
    EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -kInfinity, 3.0F}).value(), 2);
  }
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  const auto message = [](const SamplerOptions& options) { return Sampler::create(options, 10).status().message(); };
  EXPECT_NE(message({.temperature = -1}).find("temperature"), std::string::npos);
  EXPECT_NE(message({.temperature = NAN}).find("temperature"), std::string::npos);
  EXPECT_NE(message({.top_k = -3}).find("top_k"), std::string::npos);
  EXPECT_NE(message({.top_p = 1.5F}).find("top_p"), std::string::npos);
  EXPECT_NE(message({.min_p = -0.1F}).find("min_p"), std::string::npos);
  EXPECT_NE(message({.repeat_penalty = 0}).find("repeat_penalty"), std::string::npos);
}

}  // namespace
}  // namespace recalld::runtime
