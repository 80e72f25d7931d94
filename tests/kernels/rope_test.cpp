#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/kernels/test_page.h"

namespace recalld::kernels {
namespace {

std::vector<double> rotate_exactly(const RopeSpec& spec, double position, const std::vector<double>& x) {
  std::vector<double> y = x;
  for (int i = 0; i < spec.n_dims / 2; ++i) {
    const int a = spec.neox ? i : 2 * i;
    const int b = spec.neox ? i + spec.n_dims / 2 : 2 * i + 1;
    const double angle = position * static_cast<double>(spec.inv_freq[static_cast<size_t>(i)]);
    y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
    y[b] = x[a] * std::sin(angle) + x[b] * std::cos(angle);
  }
  return y;
}

RopeSpec spec_of(int n_dims, bool neox, double base) {
  RopeSpec spec{n_dims, neox, {}};
  for (int i = 0; i < n_dims / 2; ++i) spec.inv_freq.push_back(static_cast<float>(std::pow(base, -2.0 * i / n_dims)));
  return spec;
}

class RopeShiftTest : public ::testing::TestWithParam<bool> {};

// R(s) R(p) q == R(p + s) q, rows strided, with dims that are not rotated.
TEST_P(RopeShiftTest, AddsToThePosition) {
  std::mt19937 random(3);
  for (const int head_dim : {64, 80, 96, 128, 256}) {
    for (const int n_dims : {head_dim, head_dim / 2}) {
      const RopeSpec spec = spec_of(n_dims, GetParam(), 10000.0);
      for (const int shift : {1, -1, 37, -4000, 30000}) {
        constexpr int kRows = 3, kPosition = 4100;
        const size_t stride = static_cast<size_t>(head_dim) + 16;
        const std::vector<float> plain = normal_values(random, kRows * stride);
        std::vector<float> rotated(plain), shifted(static_cast<size_t>(kRows) * head_dim);
        std::vector<std::vector<double>> expected;
        for (int row = 0; row < kRows; ++row) {
          const auto begin = plain.begin() + static_cast<ptrdiff_t>(row * stride);
          const std::vector<double> x(begin, begin + head_dim);
          const std::vector<double> at_position = rotate_exactly(spec, kPosition, x);
          for (int j = 0; j < head_dim; ++j) rotated[row * stride + j] = static_cast<float>(at_position[j]);
          expected.push_back(rotate_exactly(spec, kPosition + shift, x));
        }
        RopeShift(spec, shift).rotate(kRows, head_dim, rotated.data(), stride, shifted.data());
        for (int row = 0; row < kRows; ++row)
          for (int j = 0; j < head_dim; ++j)
            ASSERT_NEAR(shifted[static_cast<size_t>(row) * head_dim + j], expected[row][j], 2e-6)
                << "head_dim " << head_dim << " n_dims " << n_dims << " shift " << shift << " dim " << j;
      }
    }
  }
}

TEST_P(RopeShiftTest, InPlaceEqualsOutOfPlace) {
  std::mt19937 random(4);
  const RopeSpec spec = spec_of(48, GetParam(), 1e6);
  const std::vector<float> plain = normal_values(random, 4 * 64);
  for (const int shift : {0, 25, -25}) {
    std::vector<float> in_place = plain, apart(plain.size());
    RopeShift(spec, shift).rotate(4, 64, plain.data(), 64, apart.data());
    RopeShift(spec, shift).rotate(4, 64, in_place.data(), 64, in_place.data());
    EXPECT_EQ(in_place, apart);
    EXPECT_EQ(plain == apart, shift == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Pairings, RopeShiftTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Neox" : "Normal"; });

}  // namespace
}  // namespace recalld::kernels
