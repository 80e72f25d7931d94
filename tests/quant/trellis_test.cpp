#include "quant/trellis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

namespace recalld::quant {
namespace {

struct Coded {
  std::vector<float> x;
  std::vector<int32_t> indices;

  double error() const {
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += std::pow(x[i] - static_cast<double>(indices[i]), 2);
    return sum / static_cast<double>(x.size());
  }
  // Bits per index, each given its parity; -1 when an index has not the parity of its state.
  double entropy() const {
    std::map<int32_t, double> counts;
    double of_parity[2] = {}, bits = 0;
    TrellisState state;
    for (const int32_t index : indices) {
      if ((index & 1) != state.parity()) return -1;
      ++counts[index];
      ++of_parity[index & 1];
      state.advance(index);
    }
    for (const auto& [index, count] : counts) bits -= count * std::log2(count / of_parity[index & 1]);
    return bits / static_cast<double>(indices.size());
  }
};

Coded code_normal(double deviation, bool pull, size_t n = 200'000) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> normal;
  Coded coded{std::vector<float>(n), std::vector<int32_t>(n)};
  for (float& x : coded.x) x = static_cast<float>(deviation) * normal(random);
  std::vector<float> pulled = coded.x;
  const auto variance = static_cast<float>(deviation * deviation);
  if (pull)
    for (float& x : pulled) x = pull_to_mean(x, 0, variance);
  TrellisState state;
  TrellisQuantizer().quantize(pulled, state, coded.indices);
  return coded;
}

TEST(Trellis, GaussianNumbersComeWithinAFewHundredthsOfABitOfTheBound) {
  // Deviations in steps: some 2.3, 3.4 and 5.4 bits per number. Rounding to integers is .25 bits from the bound.
  for (const double deviation : {2.5, 5.08, 20.0}) {
    const Coded coded = code_normal(deviation, true);
    const double bound = 0.5 * std::log2(deviation * deviation / coded.error());
    const double bits = coded.entropy();
    EXPECT_GT(bits, bound) << deviation;
    EXPECT_LT(bits, bound + 0.040) << deviation;
  }
}

TEST(Trellis, TheErrorIsWhatTheHeaderSays) {
  EXPECT_NEAR(kTrellisError, code_normal(20, false).error(), 0.01 * kTrellisError);
  // Of independent rounding at the same distance of alternatives, two steps: a third.
  EXPECT_GT(10 * std::log10(1.0 / 3 / code_normal(20, false).error()), 1.31);
}

TEST(Trellis, PullingCostsErrorAndSavesMoreRate) {
  for (const double deviation : {1.2, 2.5, 5.08}) {
    const Coded plain = code_normal(deviation, false), pulled = code_normal(deviation, true);
    const double saved = plain.entropy() - pulled.entropy();
    EXPECT_GT(saved, 0.5 * std::log2(pulled.error() / plain.error())) << deviation;
  }
}

TEST(Trellis, PulledIndicesAreTheirOwnCentroids) {
  const Coded coded = code_normal(5.08, true);
  double cross = 0, square = 0;
  for (size_t i = 0; i < coded.x.size(); ++i) {
    cross += static_cast<double>(coded.x[i]) * coded.indices[i];
    square += std::pow(coded.indices[i], 2);
  }
  EXPECT_NEAR(1.0, cross / square, 0.001);
}

TEST(Trellis, PathsGoOnWhereTheyWereLeft) {
  std::mt19937_64 random(6);
  std::normal_distribution<float> normal(0, 4);
  TrellisQuantizer quantizer;
  TrellisState state, walked;
  for (const size_t n : {1U, 0U, 3U, 7U, 64U, 2048U, 5000U}) {
    std::vector<float> x(n);
    for (float& value : x) value = normal(random);
    std::vector<int32_t> indices(n);
    quantizer.quantize(x, state, indices);
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(walked.parity(), indices[i] & 1);
      // Kinds are four apart: an index is never more than two steps off.
      ASSERT_LE(std::abs(x[i] - static_cast<float>(indices[i])), 2.001F);
      walked.advance(indices[i]);
    }
    ASSERT_EQ(walked.parity(), state.parity());
  }
}

TEST(Trellis, AnyNumberIsTaken) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {infinity, -infinity, std::numeric_limits<float>::quiet_NaN(), 3e38F, -3e38F, 1e-40F, 0};
  std::vector<int32_t> indices(x.size());
  TrellisState state;
  TrellisQuantizer().quantize(x, state, indices);
  const int32_t largest = 1 << 20;
  for (const size_t i : {0U, 3U}) EXPECT_NEAR(largest, indices[i], 2);
  for (const size_t i : {1U, 4U}) EXPECT_NEAR(-largest, indices[i], 2);
  for (const size_t i : {2U, 5U, 6U}) EXPECT_NEAR(0, indices[i], 2);
}

}  // namespace
}  // namespace recalld::quant
