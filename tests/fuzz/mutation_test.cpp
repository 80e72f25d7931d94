// What the fuzzers run, for a few seconds and with seeded changes of the seeds: nothing that comes from disk reads or
// writes out of bounds, and what is accepted holds together.
#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"

namespace recalld::testing {
namespace {

class Mutation : public ::testing::TestWithParam<std::string> {};

TEST_P(Mutation, SeedsAreRead) {
  const FuzzTarget& target = fuzz_target(GetParam());
  const std::vector<Bytes> seeds = target.seeds();
  EXPECT_GT(seeds.size(), 2u);
  for (size_t i = 0; i < seeds.size(); ++i) {
    EXPECT_LE(seeds[i].size(), target.max_bytes);
    EXPECT_TRUE(target.read(seeds[i])) << "seed " << i;
  }
  EXPECT_FALSE(target.read({}));
}

TEST_P(Mutation, ChangedBytesAreRefusedOrReadWhole) {
  const FuzzTarget& target = fuzz_target(GetParam());
  const std::vector<Bytes> seeds = target.seeds();
  Random random(20'000);
  constexpr int kRuns = 20'000;
  int read = 0;
  for (int run = 0; run < kRuns; ++run) {
    Bytes bytes = seeds[random() % seeds.size()];
    change(bytes, target.max_bytes, random);
    target.mend(bytes, random);
    bytes.shrink_to_fit();
    read += target.read(bytes) ? 1 : 0;
  }
  // Most changes are of numbers that may be any, but for chunks, whose streams end elsewhere when they are
  // changed.
  const bool streams = target.name == "rest" || target.name == "archive";
  EXPECT_GT(read, streams ? kRuns / 200 : kRuns / 10);
  EXPECT_LT(read, kRuns * 9 / 10);
}

INSTANTIATE_TEST_SUITE_P(Targets, Mutation, ::testing::Values("pages", "rest", "archive", "calibration", "rotations"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace recalld::testing
