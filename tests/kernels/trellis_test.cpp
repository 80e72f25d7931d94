#include "kernels/trellis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <set>
#include <vector>

#include "base/bytes.h"
#include "kernels/decode.h"
#include "kernels/encode.h"
#include "tests/kernels/test_page.h"

namespace recalld::kernels {
namespace {

SideFormat on_trellis(std::initializer_list<Band> bands) {
  SideFormat format;
  format.grid = Grid::kTrellis;
  for (const Band& band : bands) format.bands[format.n_bands++] = band;
  return format;
}

TEST(Trellis, SubsetsAreThoseOfThePathBitsStated) {
  std::mt19937 random(3);
  std::vector<int> u(200);
  for (int& bit : u) bit = static_cast<int>(random() & 1);
  const auto at = [&](int j) { return j < 0 ? 0 : u[static_cast<size_t>(j)]; };
  for (int j = 0, state = 0; j < static_cast<int>(u.size()); state = next_trellis_state(state, at(j)), ++j)
    ASSERT_EQ(trellis_subset(state, at(j)), 2 * (at(j) ^ at(j - 1) ^ at(j - 4)) + at(j - 2)) << j;
}

// The levels that a number may take lie two ranks apart, and every level is one of some state's.
TEST(Trellis, AStateLeavesEveryOtherLevel) {
  for (const int bits : {4, 3, 2}) {
    std::set<int> all;
    for (int state = 0; state < kTrellisStates; ++state) {
      std::set<int> ranks;
      for (int code = 0; code < 1 << bits; ++code) ranks.insert(trellis_rank(code, bits, state));
      ASSERT_EQ(ranks.size(), size_t{1} << bits);
      for (const int rank : ranks) EXPECT_EQ(rank % 2, *ranks.begin());
      all.insert(ranks.begin(), ranks.end());
    }
    EXPECT_EQ(all.size(), size_t{2} << bits);
  }
}

TEST(Trellis, CodebooksAscendAndHaveTheMidpointsOfTheirSubsets) {
  for (const int bits : {4, 3, 2}) {
    const Codebook& book = trellis_grid(bits);
    const int n = 2 << bits;
    ASSERT_EQ(book.bits, bits);
    for (int i = 0; i < n; ++i) {
      EXPECT_EQ(book.levels[i], -book.levels[n - 1 - i]);
      if (i > 0) {
        EXPECT_GT(book.levels[i], book.levels[i - 1]);
      }
    }
    for (int subset = 0; subset < kTrellisSubsets; ++subset)
      for (int place = 0; place < n / 4; ++place) {
        const float level = static_cast<float>(book.levels[4 * place + subset]) * book.unit;
        for (const float z : {level, level + 0.001F, level - 0.001F})
          EXPECT_EQ(nearest_trellis_place(book, subset, z), place);
      }
  }
}

double cost_of(const SideFormat& format, const std::vector<float>& z, unsigned path) {
  double cost = 0;
  int state = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    const Codebook& book = trellis_grid(format.bands[band_of(format, static_cast<int>(i))].bits);
    const int bit = static_cast<int>(path >> i & 1);
    double least = std::numeric_limits<double>::max();
    for (int rank = trellis_subset(state, bit); rank < 2 << book.bits; rank += kTrellisSubsets)
      least = std::min(least, std::pow(static_cast<double>(z[i]) - book.levels[rank] * book.unit, 2));
    cost += least;
    state = next_trellis_state(state, bit);
  }
  return cost;
}

TEST(Trellis, NoPathIsBetterThanTheOneFound) {
  std::mt19937 random(4);
  for (const SideFormat& format : {on_trellis({{2, 16}}), on_trellis({{3, 16}}), on_trellis({{4, 16}})}) {
    for (int repeat = 0; repeat < 3; ++repeat) {
      const std::vector<float> z = normal_values(random, 16);
      uint8_t path[16];
      reference::search_trellis(format, 16, z.data(), path);
      unsigned found = 0;
      for (int i = 0; i < 16; ++i) found |= static_cast<unsigned>(path[i]) << i;
      double least = std::numeric_limits<double>::max();
      for (unsigned tried = 0; tried < 1U << 16; ++tried) least = std::min(least, cost_of(format, z, tried));
      EXPECT_NEAR(cost_of(format, z, found), least, 1e-5);
    }
  }
}

// Mean squared error over energy of rows of N(0,1) that are coded and come back.
double error_of(const SideFormat& format, int dim, std::mt19937& random) {
  const int n = kMaxPageTokens;
  double error = 0, energy = 0;
  std::vector<float> back(static_cast<size_t>(n * dim));
  for (int repeat = 0; repeat < 8; ++repeat) {
    const std::vector<float> rows = normal_values(random, back.size());
    std::vector<uint8_t> codes(side_bytes(n, dim, format)), scales(scales_bytes(format, n));
    encode_keys({format, ScaleRule::kLeastSquares, nullptr, dim}, n, rows.data(), static_cast<size_t>(dim), nullptr,
                {codes.data(), scales.data(), nullptr});
    PageSlice page;
    page.k_format = format;
    page.k = codes.data();
    page.k_scale = scales.data();
    page.n_tokens = n;
    decode_keys(page, dim, back.data(), static_cast<size_t>(dim));
    for (size_t i = 0; i < back.size(); ++i) {
      error += std::pow(static_cast<double>(rows[i]) - back[i], 2);
      energy += std::pow(static_cast<double>(rows[i]), 2);
    }
  }
  return error / energy;
}

// The figures of kernels/trellis.h: less than the scalar quantizer of as many bits loses, by what trellises are known
// to give; the least possible is 4^-bits.
TEST(Trellis, NormalRowsLoseAsMuchLessAsStated) {
  std::mt19937 random(5);
  for (const int dim : {64, 128, 256}) {
    for (const int bits : {4, 3, 2}) {
      const double error = error_of(on_trellis({{static_cast<int16_t>(bits), static_cast<int16_t>(dim)}}), dim, random);
      const double plain = error_of(one_band(bits, dim), dim, random);
      EXPECT_NEAR(error, trellis_error(bits), 0.02 * trellis_error(bits)) << bits << " bits, " << dim;
      EXPECT_LT(error, plain * (bits == 2 ? 0.76 : 0.72)) << bits << " bits, " << dim;
      EXPECT_GT(error, std::pow(4.0, -bits)) << bits << " bits, " << dim;
    }
  }
}

}  // namespace
}  // namespace recalld::kernels
