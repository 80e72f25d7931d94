#include "bench/recall/metrics/survival.h"

#include <gtest/gtest.h>

namespace recalld::bench {
namespace {

using Ranges = std::vector<TokenRange>;

TEST(Survival, CountsTokensOfTheEvidence) {
  const Ranges evidence{{10, 10}, {40, 30}};
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{0, 100}}, evidence), 1);
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{0, 15}}, evidence), 5.0 / 40);
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{10, 10}, {60, 50}}, evidence), 20.0 / 40);
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{0, 10}, {20, 20}}, evidence), 0);
}

TEST(Survival, ATokenTwiceIsOneToken) {
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{0, 100}, {0, 100}}, Ranges{{10, 10}}), 1);
}

TEST(Survival, NothingIsKeptOfNothing) {
  EXPECT_DOUBLE_EQ(share_in_ranges(Ranges{{0, 100}}, {}), 0);
  EXPECT_DOUBLE_EQ(share_in_view({}, Ranges{{0, 1}}), 0);
}

}  // namespace
}  // namespace recalld::bench
