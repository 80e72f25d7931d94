#include "retrieval/fit_view.h"

#include <gtest/gtest.h>

namespace recalld::retrieval {
namespace {

using Indices = std::vector<size_t>;

// Four pinned tokens; then two days of two segments of 10 tokens, each day after a date line of 3; the last segment is
// the newest.
class FitView : public testing::Test {
 protected:
  FitView() {
    add(4, 0, true, false);
    for (int32_t segment = 0; segment < 4; ++segment) {
      if (segment % 2 == 0) add(3, segment, false, true);
      add(10, segment, false, false);
      segments_.push_back({.first_turn = segment, .n_turns = 1, .n_tokens = segment % 2 == 0 ? 13 : 10});
      RankedSegment ranked;
      ranked.segment = static_cast<size_t>(segment);
      ranked.score = 4 - segment;
      ranking_.segments.push_back(std::move(ranked));
    }
  }
  void add(int32_t n_tokens, int32_t segment, bool pinned, bool date) {
    groups_.push_back({.token_start = end_, .n_tokens = n_tokens, .pinned = pinned, .segment = segment, .date = date});
    end_ += n_tokens;
  }
  FittedView fit(size_t recent, int64_t max_tokens) {
    return fit_view(ranking_, segments_, groups_, recent, {.max_tokens = max_tokens}).value();
  }

  // 0 pinned | 1 date, 2 segment 0 | 3 segment 1 | 4 date, 5 segment 2 | 6 segment 3
  std::vector<PageGroup> groups_;
  std::vector<Segment> segments_;
  Ranking ranking_;
  int64_t end_ = 0;
};

TEST_F(FitView, TheNewestAndThePinnedAreSeenWhateverIsChosen) {
  EXPECT_EQ(fit(6, 0).groups, (Indices{0, 4, 6})) << "the newest segment brings its date line";
  EXPECT_EQ(fit(7, 0).groups, (Indices{0}));
  EXPECT_TRUE(fit(6, -5).choice.segments.empty());
}

TEST_F(FitView, DateLinesCountAndAreNeverLeftOut) {
  // The newest segment's date line, and segment 0 with its own.
  EXPECT_EQ(fit(6, 16).groups, (Indices{0, 1, 2, 4, 6}));
  // One token less: segment 0 does not fit any more, nor does segment 1 with the date line of its day.
  EXPECT_EQ(fit(6, 15).groups, (Indices{0, 4, 6}));
  for (int64_t most = 0; most <= 60; ++most) {
    const FittedView fitted = fit(6, most);
    const int64_t given = 4 + 10 + 3;
    EXPECT_LE(tokens_of(groups_, fitted.groups), std::max<int64_t>(given, 4 + 10 + most)) << most;
  }
}

TEST_F(FitView, WhatIsNewestIsNotChosenAgain) {
  const FittedView fitted = fit(6, 1000);
  EXPECT_EQ(fitted.groups, (Indices{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(fitted.choice.segments.size(), 3U);
}

TEST_F(FitView, ASegmentThatBeginsBeforeTheNewestGroupsIsChosenForItsBeginning) {
  groups_[6].segment = 2;
  const FittedView fitted = fit(6, 1000);
  EXPECT_EQ(fitted.groups, (Indices{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(fitted.choice.segments.size(), 4U);
}

}  // namespace
}  // namespace recalld::retrieval
