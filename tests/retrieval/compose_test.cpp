#include "retrieval/compose.h"

#include <gtest/gtest.h>

namespace recalld::retrieval {
namespace {

std::vector<PageGroup> groups_of(const std::vector<int32_t>& sizes, size_t pinned) {
  std::vector<PageGroup> groups;
  int64_t at = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    groups.push_back({at, sizes[i], i < pinned, nullptr});
    at += sizes[i];
  }
  return groups;
}

using Indices = std::vector<size_t>;

TEST(ChooseRecent, EverythingWhenItFits) {
  EXPECT_EQ(choose_recent(groups_of({16, 112, 128, 40}, 1), 296), (Indices{0, 1, 2, 3}));
}

TEST(ChooseRecent, PinnedFirstThenTheNewestWithoutGaps) {
  const auto groups = groups_of({16, 112, 128, 128, 40}, 1);
  EXPECT_EQ(choose_recent(groups, 200), (Indices{0, 3, 4}));
  EXPECT_EQ(choose_recent(groups, 184), (Indices{0, 3, 4}));
  EXPECT_EQ(choose_recent(groups, 183), (Indices{0, 4}));
}

TEST(ChooseRecent, AnOldGroupThatWouldFitIsNotTakenOverAGap) {
  EXPECT_EQ(choose_recent(groups_of({16, 10, 128, 40}, 1), 100), (Indices{0, 3}));
}

TEST(ChooseRecent, PinnedGroupsAreAlwaysTaken) {
  EXPECT_EQ(choose_recent(groups_of({16, 112}, 1), 4), (Indices{0}));
  EXPECT_TRUE(choose_recent({}, 100).empty());
}

}  // namespace
}  // namespace recalld::retrieval
