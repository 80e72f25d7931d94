#include "episodes/segmenter.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

namespace recalld::episodes {
namespace {

constexpr int64_t kMinute = 60'000, kHour = 60 * kMinute;

struct Push {
  TurnText turn;
  int32_t n_tokens;
};

Push said(int32_t n_tokens, std::optional<int64_t> time_ms = std::nullopt, const std::string& text = "words") {
  return {{"user", "Ann", text, time_ms}, n_tokens};
}

Segmenter segmented(const std::vector<Push>& pushes, const SegmenterOptions& options = {.turns = 2}) {
  Segmenter segmenter(options);
  for (const Push& push : pushes) segmenter.push(push.turn, push.n_tokens);
  return segmenter;
}

// first turn, turns, first token, tokens of each segment.
using Rows = std::vector<std::tuple<int64_t, int32_t, int64_t, int32_t>>;
Rows rows(const Segmenter& segmenter) {
  Rows out;
  for (const auto& s : segmenter.segments()) out.emplace_back(s.first_turn, s.n_turns, s.token_first, s.n_tokens);
  return out;
}

TEST(Segmenter, AFewTurnsEach) {
  const Segmenter two = segmented({said(10), said(20), said(30), said(40), said(50)});
  EXPECT_EQ(rows(two), (Rows{{0, 2, 0, 30}, {2, 2, 30, 70}, {4, 1, 100, 50}}));
  EXPECT_EQ(two.n_closed(), 2U);
  EXPECT_EQ(two.n_turns(), 5);
  EXPECT_EQ(two.n_tokens(), 150);
  const Segmenter one = segmented({said(10), said(20)}, {.turns = 1});
  EXPECT_EQ(rows(one), (Rows{{0, 1, 0, 10}, {1, 1, 10, 20}}));
  EXPECT_EQ(one.n_closed(), 2U);
  EXPECT_TRUE(segmented({}).segments().empty());
  EXPECT_EQ(segmented({}).n_closed(), 0U);
}

TEST(Segmenter, NeverOverAGapInTime) {
  const int64_t day = 1'700'000'000'000;
  const auto shape = [](std::optional<int64_t> a, std::optional<int64_t> b) {
    return segmented({said(10, a), said(20, b)}).segments().size();
  };
  EXPECT_EQ(shape(day, day), 1U);
  EXPECT_EQ(shape(day, day + kHour - 1), 1U);
  EXPECT_EQ(shape(day, day + kHour), 2U);
  EXPECT_EQ(shape(day, day - 1), 2U) << "a turn out of order has a date line of its own";
  EXPECT_EQ(shape(std::nullopt, day), 2U) << "so has the first turn with a date";
  EXPECT_EQ(shape(day, std::nullopt), 1U);
  EXPECT_EQ(shape(std::nullopt, std::nullopt), 1U);
}

TEST(Segmenter, NeverLongerThanTheMost) {
  EXPECT_EQ(rows(segmented({said(200), said(56), said(200), said(57)})),
            (Rows{{0, 2, 0, 256}, {2, 1, 256, 200}, {3, 1, 456, 57}}));
}

TEST(Segmenter, ALongTurnIsCutIntoSegmentsOfItsOwn) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "word" + std::to_string(i) + " ";
  const Segmenter segmenter = segmented({said(10), said(600, 5, text), said(20, 6)});
  EXPECT_EQ(rows(segmenter),
            (Rows{{0, 1, 0, 10}, {1, 1, 10, 200}, {1, 1, 210, 200}, {1, 1, 410, 200}, {2, 1, 610, 20}}));
  EXPECT_EQ(segmenter.n_closed(), 4U);
  std::string together;
  for (size_t i = 1; i <= 3; ++i) {
    const auto& segment = segmenter.segments()[i];
    EXPECT_EQ(segment.first_ms, 5);
    EXPECT_EQ(segment.text.substr(0, 9), "Ann: word");
    together += segment.text.substr(5);
  }
  EXPECT_EQ(together, text);
}

TEST(Segmenter, AMegabyteWithoutASpaceIsCutBetweenCharacters) {
  std::string text;
  while (text.size() < 1'000'000) text += "\xE6\xBC\xA2";
  const Segmenter segmenter = segmented({said(333'334, std::nullopt, text)});
  ASSERT_EQ(segmenter.segments().size(), 1303U);
  size_t bytes = 0;
  int64_t token = 0;
  for (const auto& segment : segmenter.segments()) {
    EXPECT_EQ(segment.token_first, token);
    EXPECT_LE(segment.n_tokens, 256);
    EXPECT_EQ((segment.text.size() - 5) % 3, 0U);
    token += segment.n_tokens;
    bytes += segment.text.size() - 5;
  }
  EXPECT_EQ(token, 333'334);
  EXPECT_EQ(bytes, text.size());
}

TEST(Segmenter, TextsNamesAndTimes) {
  Segmenter segmenter({.turns = 4});
  segmenter.push({"user", "Ann", "I bought a kiln.", std::nullopt}, 10);
  segmenter.push({"assistant", "", "Congratulations!", std::nullopt}, 10);
  segmenter.push({"user", "Ann", "", std::nullopt}, 0);
  ASSERT_EQ(segmenter.segments().size(), 1U);
  EXPECT_EQ(segmenter.segments()[0].text, "Ann: I bought a kiln.\nassistant: Congratulations!\nAnn: ");
  EXPECT_FALSE(segmenter.segments()[0].first_ms.has_value());
  segmenter.push({"user", "Ann", "Later", 70 * kMinute}, 10);
  segmenter.push({"user", "Ann", "Again", 80 * kMinute}, 10);
  segmenter.push({"user", "Ann", "Undated", std::nullopt}, 10);
  ASSERT_EQ(segmenter.segments().size(), 2U);
  EXPECT_EQ(segmenter.segments()[1].first_ms, 70 * kMinute);
  EXPECT_EQ(segmenter.segments()[1].last_ms, 80 * kMinute);
}

TEST(Segmenter, TurnsWithoutTokens) {
  const Segmenter segmenter = segmented({said(0), said(0), said(0, kHour), said(12, 3 * kHour), said(0, 9 * kHour)});
  EXPECT_EQ(rows(segmenter), (Rows{{0, 2, 0, 0}, {2, 1, 0, 0}, {3, 1, 0, 12}, {4, 1, 12, 0}}));
  EXPECT_EQ(segmenter.segment_at(0), 2U);
  EXPECT_EQ(segmenter.segment_at(11), 2U);
}

// Closed segments stay as they are, whatever follows; a prefix gives the prefix.
TEST(Segmenter, GrowsWithoutChangingWhatIsClosed) {
  std::mt19937 random(7);
  for (int round = 0; round < 50; ++round) {
    const SegmenterOptions options{.turns = 1 + static_cast<int32_t>(random() % 5), .max_tokens = 64};
    std::vector<Push> pushes;
    int64_t time = 0;
    for (int i = 0; i < 60; ++i) {
      time += random() % 5 == 0 ? 2 * kHour : static_cast<int64_t>(random() % 10) * kMinute - kMinute;
      pushes.push_back(said(static_cast<int32_t>(random() % 3 == 0 ? random() % 200 : random() % 40),
                            random() % 4 == 0 ? std::nullopt : std::optional(time), std::string(random() % 90, 'a')));
    }
    const Segmenter whole = segmented(pushes, options);
    Segmenter growing(options);
    for (const Push& push : pushes) {
      growing.push(push.turn, push.n_tokens);
      for (size_t i = 0; i < growing.n_closed(); ++i) {
        ASSERT_EQ(growing.segments()[i].text, whole.segments()[i].text);
        ASSERT_EQ(growing.segments()[i].n_tokens, whole.segments()[i].n_tokens);
      }
    }
    EXPECT_EQ(rows(growing), rows(whole));
    int64_t tokens = 0;
    for (size_t i = 0; i < whole.segments().size(); ++i) {
      const auto& segment = whole.segments()[i];
      EXPECT_EQ(segment.token_first, tokens);
      EXPECT_LE(segment.n_tokens, options.max_tokens);
      EXPECT_LE(segment.n_turns, options.turns);
      for (int64_t t = tokens; t < tokens + segment.n_tokens; ++t) ASSERT_EQ(whole.segment_at(t), i);
      tokens += segment.n_tokens;
    }
    EXPECT_EQ(tokens, whole.n_tokens());
  }
}

TEST(Segmenter, OptionsOutOfRangeAreNamed) {
  EXPECT_TRUE(check_segmenter_options({}).ok());
  EXPECT_NE(check_segmenter_options({.turns = 0}).message().find("segment_turns is 0"), std::string::npos);
  EXPECT_NE(check_segmenter_options({.max_tokens = 8}).message().find("segment_tokens is 8"), std::string::npos);
}

}  // namespace
}  // namespace recalld::episodes
