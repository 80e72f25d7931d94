#include "kernels/transform.h"
#include "kernels/linear_map.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/quant/vectors.h"

namespace recalld::kernels {
namespace {

using testing::for_each_target;
using testing::Kind;
using testing::vectors;

double dot(const float* a, const float* b, int n) { return std::inner_product(a, a + n, b, 0.0); }

TEST(Transform, SignsOfASeedAreFixedAndBalanced) {
  const SignFlips flips = sign_flips(1);
  const SignFlips again = sign_flips(1), other = sign_flips(2);
  int negative = 0, different = 0;
  for (int i = 0; i < kMaxHeadDim; ++i) {
    ASSERT_EQ(1.0F, std::fabs(flips.sign[i]));
    ASSERT_EQ(again.sign[i], flips.sign[i]);
    negative += flips.sign[i] < 0;
    different += flips.sign[i] != other.sign[i];
  }
  EXPECT_NEAR(negative, 128, 40);
  EXPECT_NEAR(different, 128, 40);
  // SplitMix64 of seed 0 begins with e220a8397b1dcdaf: part of the page format.
  const SignFlips zero = sign_flips(0);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(0xe220a8397b1dcdafu >> i & 1 ? -1.0F : 1.0F, zero.sign[i]) << i;
}

TEST(Transform, ReferenceIsTheHadamardMatrix) {
  const SignFlips flips = sign_flips(3);
  std::vector<float> x = vectors(Kind::kGaussian, 1, 64, 1), y(64);
  reference::hadamard(flips, 64, 1, x.data(), 64, y.data());
  for (int row = 0; row < 64; ++row) {
    double expected = 0;
    for (int i = 0; i < 64; ++i)
      expected += (__builtin_popcount(static_cast<unsigned>(row & i)) % 2 == 0 ? 1 : -1) *
                  static_cast<double>(flips.sign[i] * x[static_cast<size_t>(i)]) / 8;
    EXPECT_NEAR(expected, y[static_cast<size_t>(row)], 1e-5);
  }
}

TEST(Transform, KeepsDotProductsAndInverts) {
  for (int dim = 16; dim <= kMaxHeadDim; dim += 16) {
    const SignFlips flips = sign_flips(4);
    const std::vector<float> x = vectors(Kind::kGaussian, 2, dim, 2);
    std::vector<float> y(x.size());
    hadamard(flips, dim, 2, x.data(), static_cast<size_t>(dim), y.data());
    EXPECT_NEAR(dot(x.data(), x.data() + dim, dim), dot(y.data(), y.data() + dim, dim), 1e-3) << dim;
    EXPECT_NEAR(dot(x.data(), x.data(), dim), dot(y.data(), y.data(), dim), 1e-3) << dim;
    inverse_hadamard(flips, dim, 2, y.data());
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], 1e-5) << dim;
  }
}

TEST(Transform, BlocksOfOddDimsAreIndependent) {
  const SignFlips flips = sign_flips(5);
  std::vector<float> x(80, 0.0F), y(80);
  x[70] = 1;
  hadamard(flips, 80, 1, x.data(), 80, y.data());
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(0.0F, y[i]);
  for (size_t i = 64; i < 80; ++i) EXPECT_FLOAT_EQ(0.25F, std::fabs(y[i]));
}

TEST(Transform, EveryTargetEqualsTheReferenceBitForBit) {
  const SignFlips flips = sign_flips(6);
  for_each_target([&](const char* target) {
    for (int dim = 16; dim <= kMaxHeadDim; dim += 16) {
      const int n = 5, stride = dim + 3;
      const std::vector<float> x = vectors(Kind::kLogNormalChannels, n, stride, 7);
      std::vector<float> expected(static_cast<size_t>(n * dim)), got(expected.size());
      reference::hadamard(flips, dim, n, x.data(), static_cast<size_t>(stride), expected.data());
      hadamard(flips, dim, n, x.data(), static_cast<size_t>(stride), got.data());
      ASSERT_EQ(expected, got) << target << " dim " << dim;
      reference::inverse_hadamard(flips, dim, n, expected.data());
      inverse_hadamard(flips, dim, n, got.data());
      ASSERT_EQ(expected, got) << target << " dim " << dim;
    }
  });
}

TEST(Transform, InPlaceAndNanStayInTheirRow) {
  const SignFlips flips = sign_flips(8);
  std::vector<float> x = vectors(Kind::kGaussian, 3, 64, 9), y(x.size());
  hadamard(flips, 64, 3, x.data(), 64, y.data());
  x[64 + 5] = std::nanf("");
  hadamard(flips, 64, 3, x.data(), 64, x.data());
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(y[i], x[i]);
    EXPECT_TRUE(std::isnan(x[64 + i]));
    EXPECT_EQ(y[128 + i], x[128 + i]);
  }
}

TEST(LinearMap, EveryTargetEqualsTheReferenceBitForBit) {
  for_each_target([&](const char* target) {
    for (const int dim : {16, 48, 64, 80, 256}) {
      const std::vector<float> map = vectors(Kind::kStudentT, dim, dim, 10);
      for (int n = 1; n <= 9; ++n) {
        const int stride = dim + 3;
        const std::vector<float> x = vectors(Kind::kLogNormalChannels, n, stride, 11);
        std::vector<float> expected(static_cast<size_t>(n * dim)), got(expected.size());
        reference::map_rows(map.data(), dim, n, x.data(), static_cast<size_t>(stride), expected.data());
        map_rows(map.data(), dim, n, x.data(), static_cast<size_t>(stride), got.data());
        ASSERT_EQ(expected, got) << target << " dim " << dim << " rows " << n;
        std::vector<float> in_place(got.size());
        for (int row = 0; row < n; ++row)
          std::copy_n(&x[static_cast<size_t>(row * stride)], dim, &in_place[static_cast<size_t>(row * dim)]);
        map_rows(map.data(), dim, n, in_place.data(), static_cast<size_t>(dim), in_place.data());
        ASSERT_EQ(expected, in_place) << target << " dim " << dim << " rows " << n;
      }
    }
  });
}

TEST(LinearMap, ReferenceSumsOverInputs) {
  const std::vector<float> map = vectors(Kind::kGaussian, 16, 16, 12), x = vectors(Kind::kGaussian, 1, 16, 13);
  std::vector<float> y(16);
  reference::map_rows(map.data(), 16, 1, x.data(), 16, y.data());
  for (size_t i = 0; i < 16; ++i) {
    double expected = 0;
    for (size_t j = 0; j < 16; ++j) expected += static_cast<double>(x[j]) * map[j * 16 + i];
    EXPECT_NEAR(expected, y[i], 1e-5);
  }
}

}  // namespace
}  // namespace recalld::kernels
