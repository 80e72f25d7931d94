// The tables against their definition: Lloyd-Max levels of N(0,1) found here by iteration, and the published numbers.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/layout.h"
#include "tests/quant/vectors.h"

namespace recalld::kernels {
namespace {

double density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * M_PI); }
double below(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// The positive levels of the optimal quantizer, by Lloyd's iteration on exact cell means.
std::vector<double> optimal_levels(int bits) {
  const size_t half = size_t{1} << (bits - 1);
  std::vector<double> level(half);
  for (size_t i = 0; i < half; ++i) level[i] = (static_cast<double>(i) + 0.5) * 3 / static_cast<double>(half);
  for (int round = 0; round < 20000; ++round) {
    for (size_t i = 0; i < half; ++i) {
      const double low = i == 0 ? 0 : (level[i - 1] + level[i]) / 2;
      const double high = i + 1 == half ? 40 : (level[i] + level[i + 1]) / 2;
      level[i] = (density(low) - density(high)) / (below(high) - below(low));
    }
  }
  return level;
}

// E (x - q(x))^2 of N(0,1) with the given positive levels and boundaries.
double distortion(const std::vector<double>& level, const std::vector<double>& boundary) {
  double total = 0;
  for (size_t i = 0; i < level.size(); ++i) {
    const double low = i == 0 ? 0 : boundary[i - 1], high = i + 1 == level.size() ? 40 : boundary[i];
    const double mass = below(high) - below(low);
    const double first = density(low) - density(high);
    const double second = mass + low * density(low) - high * density(high);
    total += 2 * (second - 2 * level[i] * first + level[i] * level[i] * mass);
  }
  return total;
}

TEST(Codebook, IterationFindsThePublishedTables) {
  const std::vector<double> two = {0.452780, 1.510418}, three = {0.245094, 0.756005, 1.343909, 2.151946},
                            four = {0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590};
  for (const auto& [bits, table] : {std::pair{2, two}, std::pair{3, three}, std::pair{4, four}}) {
    const std::vector<double> found = optimal_levels(bits);
    for (size_t i = 0; i < table.size(); ++i) EXPECT_NEAR(table[i], found[i], 1e-6) << bits << " bits, level " << i;
  }
}

TEST(Codebook, LevelsAreTheOptimalOnesToTheirRounding) {
  for (const int bits : {4, 3, 2}) {
    const Codebook& book = lloyd_max(bits);
    const std::vector<double> exact = optimal_levels(bits);
    const size_t half = exact.size();
    ASSERT_EQ(bits, book.bits);
    EXPECT_EQ(127, book.levels[2 * half - 1]);
    for (size_t i = 0; i < half; ++i) {
      // Unit and levels are fitted together, so a level may be a little more than half a step off.
      EXPECT_NEAR(exact[i], static_cast<double>(book.unit) * book.levels[half + i], 0.75 * book.unit)
          << bits << " " << i;
      EXPECT_EQ(-book.levels[half + i], book.levels[half - 1 - i]);
    }
    for (size_t i = 0; i + 1 < 2 * half; ++i)
      EXPECT_NEAR(0.5 * book.unit * (book.levels[i] + book.levels[i + 1]), book.boundaries[i], 1e-6);
  }
}

TEST(Codebook, DistortionIsWithinTwoPerMilleOfTheOptimum) {
  const double published[] = {0, 0, 0.117482, 0.034548, 0.009501};
  for (const int bits : {4, 3, 2}) {
    const Codebook& book = lloyd_max(bits);
    const size_t half = size_t{1} << (bits - 1);
    std::vector<double> level, boundary;
    for (size_t i = 0; i < half; ++i) level.push_back(static_cast<double>(book.unit) * book.levels[half + i]);
    for (size_t i = 0; i + 1 < half; ++i) boundary.push_back(book.boundaries[half + i]);
    const std::vector<double> exact = optimal_levels(bits);
    std::vector<double> exact_boundary;
    for (size_t i = 0; i + 1 < half; ++i) exact_boundary.push_back((exact[i] + exact[i + 1]) / 2);
    EXPECT_NEAR(published[bits], distortion(exact, exact_boundary), 1e-6);
    EXPECT_LE(distortion(level, boundary), published[bits] * 1.002);
  }
}

}  // namespace
}  // namespace recalld::kernels
