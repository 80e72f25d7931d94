#include "episodes/episode_map.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "synthetic_segments.h"

namespace recalld::episodes {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

EpisodeMap make(const EpisodeOptions& options, int32_t dim) { return EpisodeMap::create(options, dim).value(); }

// A vector of four numbers, made a unit one.
std::vector<float> unit4(float a, float b, float c, float d) {
  std::vector<float> unit = {a, b, c, d};
  normalize(unit);
  return unit;
}

retrieval::Segment segment(int64_t first_turn, std::string text = "") {
  retrieval::Segment row;
  row.first_turn = first_turn;
  row.n_turns = 1;
  row.n_tokens = 10;
  row.text = std::move(text);
  return row;
}

void grow(EpisodeMap& map, const SyntheticSegments& from, size_t first, size_t end) {
  for (size_t i = first; i < end; ++i) {
    const Result<int32_t> id = map.add(from.segments[i], from.unit(i));
    ASSERT_TRUE(id.ok()) << id.status().to_string();
    ASSERT_EQ(*id, map.episode_of(i));
  }
}

// The share of segments that are of their episode's most frequent topic.
double purity(const EpisodeMap& map, const std::vector<int32_t>& topics) {
  size_t agreeing = 0;
  for (const Episode& episode : map.episodes()) {
    std::map<int32_t, size_t> counts;
    size_t most = 0;
    for (const int32_t i : episode.segments) most = std::max(most, ++counts[topics[static_cast<size_t>(i)]]);
    agreeing += most;
  }
  return static_cast<double>(agreeing) / static_cast<double>(map.n_segments());
}

// What must hold of any map.
void expect_consistent(const EpisodeMap& map) {
  std::vector<int32_t> owner(map.n_segments(), -1);
  int32_t before = -1;
  for (const Episode& episode : map.episodes()) {
    EXPECT_GT(episode.id, before);
    before = episode.id;
    EXPECT_THAT(episode.segments, ::testing::Not(IsEmpty()));
    EXPECT_TRUE(std::ranges::is_sorted(episode.segments));
    for (const int32_t i : episode.segments) {
      EXPECT_EQ(owner[static_cast<size_t>(i)], -1);
      owner[static_cast<size_t>(i)] = episode.id;
    }
    EXPECT_EQ(map.find(episode.id), &episode);
  }
  EXPECT_LT(before, map.next_id());
  for (size_t i = 0; i < owner.size(); ++i) EXPECT_EQ(owner[i], map.episode_of(i));
  EXPECT_LE(map.episodes().size(), static_cast<size_t>(episode_limit(map.options())));
}

TEST(EpisodeMapTest, AnEmptySessionHasNoEpisodes) {
  const EpisodeMap map = make({}, 4);
  EXPECT_THAT(map.episodes(), IsEmpty());
  EXPECT_EQ(map.find(0), nullptr);
  EXPECT_FALSE(map.has_unsaved());
  EXPECT_THAT(EpisodeMap::build({}, 4, {}, {})->episodes(), IsEmpty());
}

TEST(EpisodeMapTest, OneSegmentIsOneEpisode) {
  EpisodeMap map = make({}, 4);
  retrieval::Segment only = segment(0, "Ann: we adopted a greyhound");
  only.first_ms = 5;
  only.last_ms = 9;
  EXPECT_EQ(*map.add(only, unit4(1, 0, 0, 0)), 0);
  ASSERT_THAT(map.episodes(), SizeIs(1));
  const Episode& episode = map.episodes()[0];
  EXPECT_THAT(episode.segments, ElementsAre(0));
  EXPECT_EQ(episode.title, "adopted, greyhound");
  EXPECT_EQ(episode.first_ms, 5);
  EXPECT_EQ(episode.last_ms, 9);
  EXPECT_EQ(episode.n_tokens, 10);
  EXPECT_THAT(map.representatives(episode, 3), ElementsAre(0));
  EXPECT_EQ(map.segment(0).text, "");
}

TEST(EpisodeMapTest, ASegmentJoinsTheNearestOrOpensOne) {
  EpisodeMap map = make({}, 4);
  EXPECT_EQ(*map.add(segment(0), unit4(1, 0, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(1), unit4(0, 1, 0, 0)), 1);
  EXPECT_EQ(*map.add(segment(2), unit4(1, 0.5, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(3), unit4(0.5, 1, 0, 0)), 1);
  // Cosine 0.39 and 0.41 to both: below and above join_cosine.
  EXPECT_EQ(*map.add(segment(4), unit4(0.5, 0.5, 1.55, 0)), 2);
  EXPECT_EQ(map.episodes().size(), 3U);
  expect_consistent(map);
}

TEST(EpisodeMapTest, EmptyTextsGoWhereTheOneBeforeWent) {
  const std::vector<float> zero(4, 0.0f);
  EpisodeMap map = make({}, 4);
  EXPECT_EQ(*map.add(segment(0), zero), 0);
  EXPECT_EQ(*map.add(segment(1), zero), 0);
  EXPECT_EQ(map.episodes()[0].n_directed, 0);
  EXPECT_EQ(map.episodes()[0].title, "");
  // The first that has a direction gives it to them.
  EXPECT_EQ(*map.add(segment(2), unit4(1, 0, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(3), unit4(0, 1, 0, 0)), 1);
  EXPECT_EQ(*map.add(segment(4), zero), 1);
  EXPECT_EQ(*map.add(segment(5), unit4(1, 0.1, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(6), zero), 0);
  expect_consistent(map);

  // However many there are, they make no episode too large.
  for (int i = 0; i < 500; ++i) EXPECT_EQ(*map.add(segment(7 + i), zero), 0);
  EXPECT_THAT(map.episodes(), SizeIs(2));

  const std::vector<retrieval::Segment> two = {segment(0), segment(1)};
  const EpisodeMap built = *EpisodeMap::build({}, 4, two, std::vector<float>(8, 0.0f));
  ASSERT_THAT(built.episodes(), SizeIs(1));
  EXPECT_THAT(built.episodes()[0].segments, ElementsAre(0, 1));
}

TEST(EpisodeMapTest, WrongVectorsAreRefusedAndChangeNothing) {
  EpisodeMap map = make({}, 4);
  const auto refused = [&](const std::vector<float>& unit) { return map.add(segment(0), unit).status(); };
  EXPECT_EQ(refused({1, 0, 0}).code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(refused({1, 0, 0}).message(), HasSubstr("has 3 numbers, not 4"));
  EXPECT_EQ(refused({2, 0, 0, 0}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({NAN, 0, 0, 1}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(refused({INFINITY, 0, 0, 1}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(map.n_segments(), 0U);
  EXPECT_EQ(EpisodeMap::create({}, 0).status().code(), StatusCode::kInvalidArgument);
  EpisodeOptions options;
  options.max_episodes = 0;
  EXPECT_THAT(EpisodeMap::create(options, 4).status().message(), HasSubstr("max_episodes is 0; it must be 1 to 1024"));
  options = {};
  options.join_cosine = 1.5f;
  EXPECT_EQ(EpisodeMap::create(options, 4).status().code(), StatusCode::kInvalidArgument);
  const std::vector<retrieval::Segment> one = {segment(0)};
  EXPECT_EQ(EpisodeMap::build({}, 4, one, std::vector<float>(8)).status().code(), StatusCode::kInvalidArgument);
}

TEST(EpisodeMapTest, AnEpisodeTooLargeIsSplitAndNoOtherTouched) {
  // Two directions near each other, which join one episode, and one far off.
  EpisodeMap map = make({}, 4);
  std::vector<std::vector<float>> units;
  for (int i = 0; i < 42; ++i) {
    const float wobble = 0.01f * static_cast<float>(i % 5);
    units.push_back(i % 2 == 0 ? unit4(1, 0.6f, wobble, 0) : unit4(1, -0.6f, wobble, 0));
  }
  EXPECT_EQ(*map.add(segment(0, "Ann: far"), unit4(0, 0, 0, 1)), 0);
  for (int i = 0; i < 42; ++i) {
    EXPECT_EQ(*map.add(segment(i + 1, i % 2 == 0 ? "Ann: sailing" : "Ann: baking"), units[static_cast<size_t>(i)]), 1);
  }
  EXPECT_EQ(split_above({}, 43), 42);
  map.mark_saved();
  const Episode far = map.episodes()[0];
  EXPECT_EQ(*map.add(segment(43, "Ann: sailing"), units[0]), 1);
  ASSERT_THAT(map.episodes(), SizeIs(3));
  EXPECT_THAT(map.episodes()[1].segments, SizeIs(22));
  EXPECT_THAT(map.episodes()[2].segments, SizeIs(21));
  for (const int32_t i : map.episodes()[2].segments) EXPECT_EQ(i % 2, 0);
  EXPECT_EQ(map.episodes()[1].title, "sailing");
  EXPECT_EQ(map.episodes()[2].title, "baking");
  EXPECT_EQ(map.episodes()[0].segments, far.segments);
  EXPECT_EQ(map.episodes()[0].centroid, far.centroid);
  expect_consistent(map);
  const EpisodeMap::Unsaved unsaved = map.unsaved();
  EXPECT_EQ(unsaved.first_segment, 43U);
  EXPECT_THAT(unsaved.changed, ElementsAre(&map.episodes()[1], &map.episodes()[2]));
  EXPECT_THAT(unsaved.gone, IsEmpty());
}

TEST(EpisodeMapTest, TheSameVectorAgainAndAgainIsSplitInHalves) {
  EpisodeMap map = make({}, 4);
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(map.add(segment(i), unit4(1, 2, 3, 4)).ok());
  expect_consistent(map);
  for (const Episode& episode : map.episodes()) {
    EXPECT_LE(static_cast<int64_t>(episode.segments.size()), split_above({}, 300));
  }
}

TEST(EpisodeMapTest, TwoSmallCloseOnesMerge) {
  EpisodeMap map = make({}, 4);
  EXPECT_EQ(*map.add(segment(0), unit4(1, 0, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(1), unit4(0, 1, 0, 0)), 1);
  EXPECT_EQ(*map.add(segment(2), unit4(0, 0, 0, 1)), 2);
  EXPECT_EQ(*map.add(segment(3), unit4(1, 0.8f, 0, 0)), 0);
  EXPECT_THAT(map.episodes(), SizeIs(3));
  EXPECT_EQ(*map.add(segment(4), unit4(0.8f, 1, 0, 0)), 0);
  EXPECT_EQ(*map.add(segment(5), unit4(0.8f, 1, 0, 0)), 0);
  EXPECT_THAT(map.episodes(), SizeIs(3));
  map.mark_saved();
  // Episode 0 is drawn towards episode 1: cosine 0.58 before, 0.63 after.
  EXPECT_EQ(*map.add(segment(6), unit4(0.8f, 1, 0, 0)), 0);
  ASSERT_THAT(map.episodes(), SizeIs(2));
  EXPECT_THAT(map.episodes()[0].segments, ElementsAre(0, 1, 3, 4, 5, 6));
  EXPECT_THAT(map.episodes()[1].segments, ElementsAre(2));
  EXPECT_THAT(map.unsaved().gone, ElementsAre(1));
  EXPECT_EQ(map.find(1), nullptr);
  // An id is never used again.
  EXPECT_EQ(*map.add(segment(7), unit4(0, 0, 1, 0)), 3);
  expect_consistent(map);
}

TEST(EpisodeMapTest, TheLimitHoldsAndSmallOnesMakeRoom) {
  EpisodeOptions options;
  options.max_episodes = 5;
  EpisodeMap map = make(options, 32);
  const SyntheticSegments talk = synthetic_segments(800, 40, 32, 0.75f, 3);
  for (size_t i = 0; i < talk.size(); ++i) {
    ASSERT_TRUE(map.add(talk.segments[i], talk.unit(i)).ok());
    ASSERT_LE(map.episodes().size(), 5U);
  }
  EXPECT_EQ(map.episodes().size(), 5U);
  expect_consistent(map);
}

TEST(EpisodeMapTest, ANumberOfEpisodesCanBeSet) {
  const SyntheticSegments talk = synthetic_segments(200, 12, 32, 0.75f, 4);
  for (const int32_t n : {1, 4, 10}) {
    EpisodeOptions options;
    options.n_episodes = n;
    EpisodeMap map = make(options, 32);
    grow(map, talk, 0, talk.size());
    EXPECT_EQ(map.episodes().size(), static_cast<size_t>(n));
    expect_consistent(map);
    const EpisodeMap built = *EpisodeMap::build(options, 32, talk.segments, talk.units);
    EXPECT_EQ(built.episodes().size(), static_cast<size_t>(n));
    expect_consistent(built);
  }
}

TEST(EpisodeMapTest, SpansCoverTheDatedSegments) {
  EpisodeMap map = make({}, 4);
  const auto dated = [](std::optional<int64_t> first, std::optional<int64_t> last) {
    retrieval::Segment row = segment(0);
    row.first_ms = first;
    row.last_ms = last;
    return row;
  };
  ASSERT_TRUE(map.add(dated({}, {}), unit4(1, 0, 0, 0)).ok());
  EXPECT_EQ(map.episodes()[0].first_ms, std::nullopt);
  ASSERT_TRUE(map.add(dated(500, 700), unit4(1, 0, 0, 0)).ok());
  ASSERT_TRUE(map.add(dated(100, 200), unit4(1, 0, 0, 0)).ok());  // out of order
  ASSERT_TRUE(map.add(dated({}, {}), unit4(1, 0, 0, 0)).ok());
  EXPECT_EQ(map.episodes()[0].first_ms, 100);
  EXPECT_EQ(map.episodes()[0].last_ms, 700);
  EXPECT_EQ(map.episodes()[0].n_turns, 4);
}

TEST(EpisodeMapTest, RepresentativesAreTheClosestInTheirOrder) {
  EpisodeMap map = make({}, 4);
  for (const float off : {0.9f, 0.1f, -0.8f, 0.0f, -0.1f, 0.6f}) {
    ASSERT_TRUE(map.add(segment(0), unit4(1, off, 0, 0)).ok());
  }
  ASSERT_THAT(map.episodes(), SizeIs(1));
  EXPECT_THAT(map.representatives(map.episodes()[0], 3), ElementsAre(1, 3, 4));
  EXPECT_THAT(map.representatives(map.episodes()[0], 0), IsEmpty());
  EXPECT_THAT(map.representatives(map.episodes()[0], 99), SizeIs(6));
}

TEST(EpisodeMapTest, TenThousandSegmentsFindTheirTopics) {
  const SyntheticSegments talk = synthetic_segments(10'000, 40, 64, 0.75f, 5);
  EpisodeMap grown = make({}, 64);
  grow(grown, talk, 0, talk.size());
  expect_consistent(grown);
  const EpisodeMap built = *EpisodeMap::build({}, 64, talk.segments, talk.units);
  expect_consistent(built);
  EXPECT_EQ(built.episodes().size(), 64U);
  const double of_grown = purity(grown, talk.topics);
  const double of_built = purity(built, talk.topics);
  std::printf("10,000 segments of 40 topics: grown into %zu episodes, purity %.4f; built into %zu, purity %.4f\n",
              grown.episodes().size(), of_grown, built.episodes().size(), of_built);
  EXPECT_GT(of_grown, 0.95);
  EXPECT_GT(of_grown, of_built - 0.02);
  EXPECT_GE(grown.episodes().size(), 40U);
}

// Products of two vectors that each segment of [first, end) cost.
double work(const SyntheticSegments& talk, size_t first, size_t end) {
  EpisodeMap map = make({}, talk.dim);
  grow(map, talk, 0, first);
  const int64_t before = map.dot_products();
  const auto started = std::chrono::steady_clock::now();
  grow(map, talk, first, end);
  const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - started;
  const double products = static_cast<double>(map.dot_products() - before) / static_cast<double>(end - first);
  std::printf("  segments %zu to %zu: %.0f products, %.0f us each; %zu episodes\n", first, end, products,
              took.count() / static_cast<double>(end - first), map.episodes().size());
  return products;
}

TEST(EpisodeMapTest, TheWorkForASegmentDoesNotGrowWithTheSession) {
  const double limit = episode_limit({});
  // Splits: 2 means, 10 rounds and once more, and 4; over at most 4 segments for each that came since the last one.
  const double splits = 4 * (2 * 11 + 4);
  for (const int32_t topics : {6, 40, 400}) {
    std::printf("%d topics\n", topics);
    const SyntheticSegments talk = synthetic_segments(10'000, topics, 64, 1.0f, 6);
    const double early = work(talk, 50, 150);
    const double middle = work(talk, 1'250, 2'500);
    const double late = work(talk, 4'000, 5'000);
    const double last = work(talk, 9'000, 10'000);
    for (const double products : {early, middle, late, last}) {
      EXPECT_LT(products, limit + limit + limit * limit / 2 + splits);
    }
    // Once there are as many episodes as there may be, it stays as it is.
    EXPECT_LT(late, 1.3 * std::max(middle, 2 * limit));
    EXPECT_LT(last, 1.3 * std::max(middle, 2 * limit));
  }
}

}  // namespace
}  // namespace recalld::episodes
