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

// Segments 0 (pinned part and rest), 1, 2 (two groups), 3, 4.
std::vector<PageGroup> segmented_groups() {
  auto groups = groups_of({16, 30, 60, 128, 20, 50, 40}, 1);
  const std::vector<int32_t> segments{0, 0, 1, 2, 2, 3, 4};
  for (size_t i = 0; i < groups.size(); ++i) groups[i].segment = segments[i];
  return groups;
}

TEST(GroupsOf, ASegmentIsARangeOfGroups) {
  const auto groups = segmented_groups();
  EXPECT_EQ(groups_of(groups, 0), std::pair(size_t{0}, size_t{2}));
  EXPECT_EQ(groups_of(groups, 2), std::pair(size_t{3}, size_t{5}));
  EXPECT_EQ(groups_of(groups, 4), std::pair(size_t{6}, size_t{7}));
  const auto [first, end] = groups_of(groups, 7);
  EXPECT_EQ(first, end);
}

TEST(RecentFrom, WholeGroupsFromTheEnd) {
  const auto groups = segmented_groups();
  EXPECT_EQ(recent_from(groups, 0), 7U);
  EXPECT_EQ(recent_from(groups, 39), 7U);
  EXPECT_EQ(recent_from(groups, 40), 6U);
  EXPECT_EQ(recent_from(groups, 109), 5U);
  EXPECT_EQ(recent_from(groups, 1000), 1U) << "the pinned group is never recent";
  EXPECT_EQ(recent_from({}, 10), 0U);
}

TEST(ViewGroupsFor, PinnedThenChosenInTheirOrderThenRecent) {
  const auto groups = segmented_groups();
  const auto view = [&](std::vector<int32_t> segments, size_t recent) {
    return view_groups_for(groups, segments, recent);
  };
  EXPECT_EQ(view({2, 1}, 6), (Indices{0, 3, 4, 2, 6}));
  EXPECT_EQ(view({0}, 7), (Indices{0, 1}));
  EXPECT_EQ(view({}, 5), (Indices{0, 5, 6}));
  EXPECT_EQ(view({0, 1, 2, 3, 4}, 7), (Indices{0, 1, 2, 3, 4, 5, 6})) << "everything by time is the full cache";
  EXPECT_EQ(view({}, 0), (Indices{0, 1, 2, 3, 4, 5, 6}));
}

TEST(ViewGroupsFor, NothingTwice) {
  const auto groups = segmented_groups();
  EXPECT_EQ(view_groups_for(groups, std::vector<int32_t>{4, 1, 1, 9, -1, 0, 3}, 5), (Indices{0, 2, 1, 5, 6}));
  // A segment that reaches into the recent part: its older groups alone.
  EXPECT_EQ(view_groups_for(groups, std::vector<int32_t>{2}, 4), (Indices{0, 3, 4, 5, 6}));
  EXPECT_EQ(tokens_of(groups, Indices{0, 3}), 144);
  EXPECT_TRUE(view_groups_for({}, std::vector<int32_t>{1}, 0).empty());
}

// Two dated sessions: pinned | date, 0, 1, 2 | date, 3, 4.
std::vector<PageGroup> dated_groups() {
  auto groups = groups_of({16, 12, 60, 50, 40, 12, 50, 40}, 1);
  const std::vector<int32_t> segments{0, 0, 0, 1, 2, 3, 3, 4};
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].segment = segments[i];
    groups[i].date = groups[i].n_tokens == 12;
  }
  return groups;
}

TEST(ViewGroups, SegmentsBringTheirDateLineOnce) {
  const auto groups = dated_groups();
  const auto view = [&](const std::vector<int32_t>& segments, size_t recent) {
    return view_groups_for(groups, segments, recent);
  };
  EXPECT_EQ(view({1, 2}, 8), (Indices{0, 1, 3, 4}));
  EXPECT_EQ(view({0, 2}, 8), (Indices{0, 1, 2, 4})) << "a date line of its own is no other";
  EXPECT_EQ(view({4, 1}, 8), (Indices{0, 5, 7, 1, 3}));
  EXPECT_EQ(view({1}, 7), (Indices{0, 1, 3, 5, 7})) << "the recent part has its date too";
  EXPECT_EQ(view({}, 5), (Indices{0, 5, 6, 7}));
}

}  // namespace
}  // namespace recalld::retrieval
