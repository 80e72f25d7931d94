#include "bench/recall/evidence.h"

#include <gtest/gtest.h>

namespace recalld::bench {
namespace {

using Turns = std::vector<TurnId>;

TEST(Evidence, ReadsWhatAnnotatorsWrite) {
  EXPECT_EQ(parse_evidence("D1:3"), (Turns{{1, 3}}));
  EXPECT_EQ(parse_evidence("D8:6; D9:17"), (Turns{{8, 6}, {9, 17}}));
  EXPECT_EQ(parse_evidence("D1:3, D1:5 D2:1"), (Turns{{1, 3}, {1, 5}, {2, 1}}));
  EXPECT_EQ(parse_evidence("D:11:26"), (Turns{{11, 26}}));
  EXPECT_EQ(parse_evidence("(d30:05)"), (Turns{{30, 5}}));
  EXPECT_EQ(parse_evidence("12:4"), (Turns{{12, 4}}));
}

TEST(Evidence, ReadsRanges) {
  EXPECT_EQ(parse_evidence("D1:3-5"), (Turns{{1, 3}, {1, 4}, {1, 5}}));
  EXPECT_EQ(parse_evidence("D1:3 - D1:4"), (Turns{{1, 3}, {1, 4}}));
  EXPECT_EQ(parse_evidence("D1:3-D2:4"), (Turns{{1, 3}, {2, 4}})) << "two turns, not a range over sessions";
  EXPECT_EQ(parse_evidence("D1:5-3"), (Turns{{1, 5}}));
  EXPECT_EQ(parse_evidence("D1:5-99999"), (Turns{{1, 5}}));
}

TEST(Evidence, FindsNothingWhereThereIsNothing) {
  for (const char* text : {"", "D", "D:", "D1", "D1:", ":3", "session 4", "-", "D-1"})
    EXPECT_EQ(parse_evidence(text), Turns{}) << text;
}

}  // namespace
}  // namespace recalld::bench
