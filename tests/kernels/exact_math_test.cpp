#include "kernels/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace recalld::kernels {
namespace {

TEST(ExactMath, ExpIsAccurate) {
  double worst = 0;
  for (float x = 0; x > kExpLowest; x -= 0.00037F) {
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::fabs(static_cast<double>(exact_exp(x)) - exact) / exact);
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(ExactMath, ExpAtTheEdges) {
  EXPECT_EQ(exact_exp(0.0F), 1.0F);
  EXPECT_EQ(exact_exp(-0.0F), 1.0F);
  EXPECT_EQ(exact_exp(-88.0F), 0.0F);
  EXPECT_EQ(exact_exp(kNegativeInfinity), 0.0F);
  EXPECT_TRUE(std::isnan(exact_exp(std::numeric_limits<float>::quiet_NaN())));
}

TEST(ExactMath, RoundsToEven) {
  EXPECT_EQ(round_even(0.5F), 0.0F);
  EXPECT_EQ(round_even(1.5F), 2.0F);
  EXPECT_EQ(round_even(-2.5F), -2.0F);
  EXPECT_EQ(round_even(126.6F), 127.0F);
}

TEST(ExactMath, QueryScaleNeverOverflows) {
  EXPECT_EQ(query_scale(0.0F).inverse, 0.0F);
  EXPECT_EQ(query_scale(1e-38F).inverse, 0.0F);
  EXPECT_TRUE(std::isfinite(query_scale(3e38F).inverse));
  EXPECT_FLOAT_EQ(query_scale(2.0F).scale, 2.0F / 127.0F);
}

}  // namespace
}  // namespace recalld::kernels
