#include "retrieval/segment_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace recalld::retrieval {
namespace {

constexpr int64_t kHour = 3'600'000;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kMay = 1'682'899'200'000;  // 1 May 2023

// A vector of its own direction for each topic.
std::vector<float> topic(size_t which, float other = 0) {
  std::vector<float> vector(8, other);
  vector[which] = 1;
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * x;
  for (float& x : vector) x /= static_cast<float>(std::sqrt(squares));
  return vector;
}

class Filling {
 public:
  explicit Filling(int32_t dim = 0, const RankingOptions& options = {})
      : index(SegmentIndex::create(dim, options).value()) {}

  Filling& turn(const std::string& speaker, const std::string& text, std::optional<int64_t> ms = {},
                std::vector<float> vector = {}, std::optional<int64_t> episode = {}) {
    const SegmentTurn turn{speaker, text, std::move(vector), {}};
    Segment segment;
    segment.n_turns = 1;
    segment.first_ms = segment.last_ms = ms;
    EXPECT_TRUE(index->add(segment, {&turn, 1}, episode).ok());
    return *this;
  }

  Ranking ask(const std::string& text, std::vector<float> embedding = {}) {
    return index->search({text, std::nullopt, std::move(embedding), {}}).value();
  }

  std::unique_ptr<SegmentIndex> index;
};

std::vector<size_t> order(const Ranking& ranking) {
  std::vector<size_t> segments;
  for (const RankedSegment& ranked : ranking.segments) segments.push_back(ranked.segment);
  return segments;
}

double sum(const Signals& s) { return s.dense + s.lexical + s.neighbours + s.speaker + s.time + s.episode; }

TEST(SegmentIndex, VectorsMayComeLater) {
  Filling now(8), later(8);
  for (size_t i = 0; i < 6; ++i) {
    now.turn("Ann", "Number " + std::to_string(i), {}, topic(i));
    later.turn("Ann", "Number " + std::to_string(i));
  }
  const auto same = [](const Ranking& a, const Ranking& b) {
    ASSERT_EQ(a.segments.size(), b.segments.size());
    for (size_t i = 0; i < a.segments.size(); ++i) {
      EXPECT_EQ(a.segments[i].segment, b.segments[i].segment);
      EXPECT_EQ(a.segments[i].score, b.segments[i].score);
    }
  };
  EXPECT_EQ(later.ask("Number 4?", topic(2)).segments.front().segment, 4U) << "by its words";
  for (size_t i = 0; i < 6; ++i) {
    const SegmentTurn turn{"", "", topic(i), {}};
    ASSERT_TRUE(later.index->set_vectors(i, {&turn, 1}).ok());
  }
  same(now.ask("Which?", topic(2)), later.ask("Which?", topic(2)));
  const std::vector<SegmentTurn> two(2), one(1);
  EXPECT_EQ(later.index->set_vectors(6, one).code(), StatusCode::kNotFound);
  EXPECT_EQ(later.index->set_vectors(0, one).code(), StatusCode::kInvalidArgument) << "it has them";
  later.turn("Ann", "One more");
  EXPECT_EQ(later.index->set_vectors(6, two).code(), StatusCode::kInvalidArgument);
  const SegmentTurn wrong{"", "", {1, 0}, {}};
  EXPECT_EQ(later.index->set_vectors(6, {&wrong, 1}).code(), StatusCode::kInvalidArgument);
}

TEST(SegmentIndex, AnEmptyOneRanksNothing) {
  Filling filling;
  const Ranking ranking = filling.ask("What?");
  EXPECT_TRUE(ranking.segments.empty());
  EXPECT_EQ(ranking.margin, 0);
}

TEST(SegmentIndex, OneSegmentIsRankedWhateverIsAsked) {
  Filling filling(8);
  filling.turn("Ann", "I like tea", kMay, topic(0));
  for (const char* text : {"", "tea", "Ann", "\"*NEAR(", "When did Ann drink tea?"}) {
    const Ranking ranking = filling.ask(text, topic(1));
    ASSERT_EQ(ranking.segments.size(), 1U);
    EXPECT_TRUE(std::isfinite(ranking.segments[0].score));
    EXPECT_EQ(ranking.margin, 0);
  }
}

TEST(SegmentIndex, IdenticalSegmentsKeepTheirOrder) {
  Filling filling(8);
  for (int i = 0; i < 20; ++i) filling.turn("", "the same words", kMay + i * kDay, topic(0));
  const Ranking ranking = filling.ask("same words", topic(0));
  std::vector<size_t> expected(20);
  for (size_t i = 0; i < 20; ++i) expected[i] = i;
  EXPECT_EQ(order(ranking), expected);
}

TEST(SegmentIndex, WordsAndVectorsAreFusedAndSumUp) {
  Filling filling(8);
  filling.turn("Ann", "pottery is fun", kMay, topic(0, 0.1F))
      .turn("Bob", "football is fun", kMay + kDay, topic(1, 0.1F))
      .turn("Ann", "cats sleep", kMay + 2 * kDay, topic(2, 0.1F))
      .turn("Bob", "dogs bark", kMay + 3 * kDay, topic(3, 0.1F));
  EXPECT_EQ(filling.ask("pottery").segments[0].segment, 0U);
  EXPECT_EQ(filling.ask("nothing in common", topic(2)).segments[0].segment, 2U);
  const Ranking ranking = filling.ask("football?", topic(1));
  EXPECT_EQ(ranking.segments[0].segment, 1U);
  EXPECT_EQ(ranking.segments[0].words, (std::vector<std::string>{"football"}));
  EXPECT_GT(ranking.margin, 0);
  for (const RankedSegment& ranked : ranking.segments) EXPECT_NEAR(ranked.score, sum(ranked.signals), 1e-12);
}

TEST(SegmentIndex, ANamedSpeakersTurnsComeFirst) {
  Filling filling;
  filling.turn("Melanie", "I went hiking", kMay)
      .turn("Caroline", "I went hiking", kMay + kDay)
      .turn("Melanie", "Nice weather", kMay + 2 * kDay);
  Ranking ranking = filling.ask("Where did Caroline go hiking?");
  EXPECT_EQ(ranking.speaker, "Caroline");
  EXPECT_EQ(ranking.segments[0].segment, 1U);
  EXPECT_GT(ranking.segments[0].signals.speaker, 0);
  EXPECT_EQ(filling.ask("Where did Mel go hiking?").speaker, "Melanie");
  EXPECT_EQ(filling.ask("Did Melanie and Caroline go hiking?").speaker, "") << "two names prefer nobody";
  EXPECT_EQ(filling.ask("did melanie hike").speaker, "");
  EXPECT_EQ(filling.ask("Is Me a name?").speaker, "");
  EXPECT_EQ(filling.index->bare_question("Is Caroline's dog Melanie? Carolines"), "Is dog ? Carolines");
}

TEST(SegmentIndex, NeighboursAreRaisedButNotOverAGap) {
  Filling filling;
  filling.turn("A", "what is your favourite colour?", kMay)
      .turn("B", "it was always green", kMay)
      .turn("A", "I see", kMay + kDay)
      .turn("B", "nothing new", kMay + kDay)
      .turn("A", "nor here", kMay + 2 * kDay);
  const Ranking ranking = filling.ask("favourite colour");
  EXPECT_EQ(order(ranking)[0], 0U);
  EXPECT_EQ(order(ranking)[1], 1U) << "the answer stands beside the words asked for";
  for (const RankedSegment& ranked : ranking.segments)
    if (ranked.segment == 2) {
      EXPECT_LT(ranked.signals.neighbours, 0);
    }
}

TEST(SegmentIndex, TimesOfTheQuestionRaiseWhatWasSaidThen) {
  Filling filling;
  for (int day = 0; day < 40; day += 10) filling.turn("A", "we met", kMay + day * kDay);
  const Ranking ranking = filling.ask("Whom did we meet on 11 May 2023?");
  EXPECT_EQ(ranking.times.size(), 1U);
  EXPECT_EQ(ranking.segments[0].segment, 1U);
  EXPECT_NEAR(ranking.segments[0].signals.time, RankingOptions().time, 1e-9);
}

TEST(SegmentIndex, ZeroVectorsAndMissingOnesDoNotWin) {
  Filling filling(8);
  filling.turn("", "one", kMay, std::vector<float>(8, 0))
      .turn("", "two", kMay + kDay)
      .turn("", "three", kMay + 2 * kDay, topic(4))
      .turn("", "four", kMay + 3 * kDay, topic(5));
  EXPECT_EQ(filling.ask("else", topic(4)).segments[0].segment, 2U);
}

TEST(SegmentIndex, ASegmentIsAsGoodAsItsBestTurnOrSentence) {
  const auto index = SegmentIndex::create(8).value();
  const SegmentTurn turns[] = {{"A", "one thing", topic(0), {}},
                               {"B", "Another. And a third.", topic(1), {topic(1), topic(2)}}};
  Segment segment;
  ASSERT_TRUE(index->add(segment, {turns, 1}).ok());
  ASSERT_TRUE(index->add(segment, turns).ok());
  ASSERT_TRUE(index->add(segment, {turns, 1}).ok());
  const Ranking ranking = index->search({"?", {}, topic(2), {}}).value();
  EXPECT_EQ(ranking.segments[0].segment, 1U);
}

TEST(SegmentIndex, EpisodesGiveTheMarginAndMayBeRaised) {
  RankingOptions options;
  options.episode = 0.5;
  Filling filling(0, options);
  filling.turn("", "lake swim", kMay, {}, 7)
      .turn("", "lake", kMay + kDay, {}, 7)
      .turn("", "lake walk", kMay + 2 * kDay, {}, 8)
      .turn("", "bread", kMay + 3 * kDay);
  Ranking ranking = filling.ask("lake swim");
  EXPECT_EQ(ranking.segments[0].episode, 7);
  EXPECT_NE(ranking.segments[0].signals.episode, 0);
  double other = -1e9;
  for (const RankedSegment& ranked : ranking.segments)
    if (ranked.episode != 7) other = std::max(other, ranked.score);
  EXPECT_EQ(ranking.margin, ranking.segments[0].score - other);
  ASSERT_TRUE(filling.index->set_episode(1, 8).ok());
  EXPECT_EQ(filling.index->set_episode(9, 8).code(), StatusCode::kNotFound);
}

TEST(SegmentIndex, RefusesVectorsThatDoNotFit) {
  Filling filling(8);
  const SegmentTurn wrong{"", "x", std::vector<float>(3, 1), {}};
  EXPECT_EQ(filling.index->add({}, {&wrong, 1}).code(), StatusCode::kInvalidArgument);
  const SegmentTurn broken{"", "x", {}, {std::vector<float>(8, std::numeric_limits<float>::infinity())}};
  EXPECT_EQ(filling.index->add({}, {&broken, 1}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(filling.index->size(), 0U);
  filling.turn("", "x", kMay, topic(0));
  EXPECT_EQ(filling.index->search({"x", {}, std::vector<float>(3, 1), {}}).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(SegmentIndex, SameSegmentsSameRanking) {
  Filling one(8), two(8);
  for (Filling* filling : {&one, &two})
    for (size_t i = 0; i < 200; ++i)
      filling->turn(i % 2 == 0 ? "Ann" : "Bob", "word" + std::to_string(i % 13) + " and word" + std::to_string(i % 7),
                    kMay + static_cast<int64_t>(i / 10) * kDay, topic(i % 8, static_cast<float>(i % 5) / 10));
  two.ask("word1", topic(1));
  const Ranking first = one.ask("What did Ann say of word3 and word5 in May?", topic(3)),
                second = two.ask("What did Ann say of word3 and word5 in May?", topic(3));
  EXPECT_EQ(order(first), order(second));
  for (size_t i = 0; i < first.segments.size(); ++i) EXPECT_EQ(first.segments[i].score, second.segments[i].score);
}

TEST(SegmentIndex, LargeIndexesAreSearchedByGroups) {
  RankingOptions options;
  options.search.exact_limit = 100;
  Filling large(8, options);
  for (size_t i = 0; i < 400; ++i)
    large.turn("", "w" + std::to_string(i), kMay + static_cast<int64_t>(i) * kDay,
               topic(i % 7, 0.01F * static_cast<float>(i % 30)));
  large.turn("", "the one", kMay + 500 * kDay, topic(7));
  const Ranking ranking = large.ask("unknown", topic(7));
  EXPECT_EQ(ranking.segments.size(), 401U);
  EXPECT_EQ(ranking.segments[0].segment, 400U);
}

TEST(SplitSentences, KeepsThoseOfTwoWordsOrMore) {
  EXPECT_EQ(split_sentences("Hi! I went to Rome. It was 3.5 km. Wow\nnice day [shares a photo: a cat]"),
            (std::vector<std::string>{"I went to Rome.", "It was 3.5 km.", "nice day", "[shares a photo: a cat]"}));
  EXPECT_TRUE(split_sentences("").empty());
  EXPECT_TRUE(split_sentences(" .  ! ? ").empty());
}

}  // namespace
}  // namespace recalld::retrieval
