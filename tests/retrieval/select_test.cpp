#include "retrieval/select.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace recalld::retrieval {
namespace {

std::vector<Segment> segments_of(const std::vector<int32_t>& tokens) {
  std::vector<Segment> segments;
  for (const int32_t n : tokens) segments.push_back({.n_tokens = n});
  return segments;
}

// Segments in the order of the scores given, all in one episode unless said otherwise.
Ranking ranking_of(const std::vector<double>& scores, const std::vector<std::optional<int64_t>>& episodes = {}) {
  Ranking ranking;
  for (size_t i = 0; i < scores.size(); ++i) {
    RankedSegment ranked;
    ranked.segment = i;
    ranked.score = scores[i];
    if (i < episodes.size()) ranked.episode = episodes[i];
    ranking.segments.push_back(std::move(ranked));
  }
  std::stable_sort(ranking.segments.begin(), ranking.segments.end(),
                   [](const RankedSegment& a, const RankedSegment& b) { return a.score > b.score; });
  return ranking;
}

std::vector<size_t> chosen(const Choice& choice) {
  std::vector<size_t> segments;
  for (const RankedSegment& ranked : choice.segments) segments.push_back(ranked.segment);
  return segments;
}

using Indices = std::vector<size_t>;

TEST(Select, TakesTheBestThatFitWholeAndPassesOverTheRest) {
  const auto segments = segments_of({40, 70, 30, 10});
  const Choice choice = select(ranking_of({3, 2, 1, 0}), segments, {.max_tokens = 80}).value();
  EXPECT_EQ(chosen(choice), (Indices{0, 2, 3}));
  EXPECT_EQ(choice.n_tokens, 80);
  EXPECT_EQ(choice.n_left_out, 1U);
}

TEST(Select, OrdersTheView) {
  const auto segments = segments_of({1, 1, 1});
  const Ranking ranking = ranking_of({1, 3, 2});
  EXPECT_EQ(chosen(select(ranking, segments, {}).value()), (Indices{0, 1, 2}));
  EXPECT_EQ(chosen(select(ranking, segments, {.order = ViewOrder::kBestFirst}).value()), (Indices{1, 2, 0}));
  EXPECT_EQ(chosen(select(ranking, segments, {.order = ViewOrder::kBestLast}).value()), (Indices{0, 2, 1}));
  for (const char* name : {"by_time", "best_last", "best_first"})
    EXPECT_EQ(view_order_name(*parse_view_order(name)), name);
  EXPECT_FALSE(parse_view_order("random"));
}

TEST(Select, ScoresBelowTheLimitsAreLeftOut) {
  const auto segments = segments_of({1, 1, 1, 1});
  const Ranking ranking = ranking_of({4, 3, 1, -1});
  EXPECT_EQ(chosen(select(ranking, segments, {.min_score = 1}).value()), (Indices{0, 1, 2}));
  EXPECT_EQ(chosen(select(ranking, segments, {.max_below_best = 1.5}).value()), (Indices{0, 1}));
  EXPECT_TRUE(select(ranking, segments, {.min_score = 9}).value().segments.empty());
}

TEST(Select, OneEpisodeWhenItIsClearSeveralWhenNot) {
  const auto segments = segments_of({1, 1, 1, 1, 1});
  const Ranking ranking = ranking_of({5, 4, 1, 0, 3}, {1, 2, 1, 2, std::nullopt});
  EXPECT_EQ(chosen(select(ranking, segments, {.episode_margin = 0.5}).value()), (Indices{0, 2}));
  const Choice two = select(ranking, segments, {.episode_margin = 1.5}).value();
  EXPECT_EQ(chosen(two), (Indices{0, 1, 2, 3}));
  EXPECT_EQ(two.n_episodes, 2U);
  EXPECT_EQ(chosen(select(ranking, segments, {}).value()), (Indices{0, 1, 2, 3, 4}));
}

TEST(Select, WhatIsInTheViewAlreadyIsNeitherChosenNorCounted) {
  const auto segments = segments_of({50, 50, 50});
  const Indices taken{0};
  EXPECT_EQ(chosen(select(ranking_of({3, 2, 1}), segments, {.max_tokens = 100}, taken).value()), (Indices{1, 2}));
}

TEST(Select, NothingToChooseFrom) {
  EXPECT_TRUE(select({}, {}, {}).value().segments.empty());
  EXPECT_TRUE(select(ranking_of({1}), segments_of({5}), {.max_tokens = 0}).value().segments.empty());
  EXPECT_TRUE(select(ranking_of({1}), segments_of({5}), {.max_tokens = -3}).value().segments.empty());
  EXPECT_EQ(select(ranking_of({1}), {}, {}).status().code(), StatusCode::kInvalidArgument);
}

TEST(Select, TheBudgetIsNeverExceeded) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> tokens;
    std::vector<double> scores;
    for (size_t i = 0; i < random() % 60; ++i) {
      tokens.push_back(static_cast<int32_t>(random() % 300));
      scores.push_back(static_cast<double>(random() % 10));
    }
    const auto budget = static_cast<int64_t>(random() % 1500);
    const auto segments = segments_of(tokens);
    const Choice choice = select(ranking_of(scores), segments, {.max_tokens = budget}).value();
    int64_t total = 0;
    std::set<size_t> distinct;
    for (const RankedSegment& ranked : choice.segments) {
      total += segments[ranked.segment].n_tokens;
      distinct.insert(ranked.segment);
    }
    EXPECT_EQ(total, choice.n_tokens);
    EXPECT_LE(total, budget);
    EXPECT_EQ(distinct.size(), choice.segments.size());
  }
}

}  // namespace
}  // namespace recalld::retrieval
