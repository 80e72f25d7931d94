#include "bench/recall/locomo.h"

#include <gtest/gtest.h>

namespace recalld::bench {
namespace {

constexpr const char* kSample = R"({
  "sample_id": "talk-1",
  "conversation": {
    "speaker_a": "Nadia", "speaker_b": "Daniel",
    "session_2_date_time": "2:00 pm on 9 May, 2023",
    "session_2": [{"speaker": "Nadia", "dia_id": "D2:1", "text": " How is Lisbon? "}],
    "session_1_date_time": "1:56 pm on 8 May, 2023",
    "session_1": [
      {"speaker": "Daniel", "dia_id": "D1:1", "text": "I am moving."},
      {"speaker": "Nadia", "dia_id": "D1:2", "text": "Where?", "blip_caption": "a map"}],
    "session_3_date_time": "2:00 pm on 10 May, 2023"
  },
  "qa": [
    {"question": "Where?", "answer": "Lisbon", "evidence": ["D2:1", "D1:1"], "category": 4},
    {"question": "How many?", "answer": 2, "evidence": ["D1:1-2"], "category": 1},
    {"question": "Who?", "answer": "Daniel", "evidence": ["D1:9"], "category": 4},
    {"question": "What?", "answer": "a map", "evidence": ["D"], "category": 4},
    {"question": "Why?", "adversarial_answer": "rain", "evidence": ["D1:1"], "category": 5}]
})";

TEST(Locomo, ReadsTurnsInTheOrderOfSessions) {
  const auto parsed = parse_conversations(kSample, "file", false);
  ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
  ASSERT_EQ(parsed->size(), 1U);
  const Conversation& talk = parsed->front();
  EXPECT_EQ(talk.id, "talk-1");
  ASSERT_EQ(talk.turns.size(), 3U);
  EXPECT_EQ(talk.turns[0].text, "I am moving.");
  EXPECT_EQ(talk.turns[0].role, "assistant");
  EXPECT_EQ(talk.turns[1].text, "Where?");
  EXPECT_EQ(talk.turns[2].text, "How is Lisbon?") << "white space around a turn is no part of it";
  EXPECT_EQ(talk.turns[2].date, "2:00 pm on 9 May, 2023");
  EXPECT_EQ(*talk.turns[2].time_ms - *talk.turns[0].time_ms, (24 * 60 + 4) * 60'000);
}

TEST(Locomo, CaptionsAreAChoice) {
  const auto parsed = parse_conversations(kSample, "file", true);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->front().turns[1].text, "Where? [shares a photo: a map]");
}

TEST(Locomo, ResolvesEvidence) {
  const auto parsed = parse_conversations(kSample, "file", false);
  ASSERT_TRUE(parsed.ok());
  const auto& questions = parsed->front().questions;
  ASSERT_EQ(questions.size(), 5U);
  EXPECT_EQ(questions[0].evidence, (std::vector<int>{0, 2}));
  EXPECT_EQ(questions[1].evidence, (std::vector<int>{0, 1}));
  EXPECT_EQ(questions[1].gold, "2") << "numbers are answers too";
  EXPECT_TRUE(questions[2].evidence.empty()) << "no such turn";
  EXPECT_TRUE(questions[3].evidence.empty());
  EXPECT_EQ(questions[4].gold, "");
}

TEST(Locomo, SaysWhatIsMissing) {
  const auto parsed = parse_conversations(R"({"conversation": {"session_1": []}})", "file", false);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.status().message(), "file: the conversation has no turns");
  EXPECT_FALSE(parse_conversations("[1]", "file", false).ok());
  EXPECT_FALSE(parse_conversations("{", "file", false).ok());
  EXPECT_FALSE(read_conversations("/nowhere/at/all", false).ok());
}

}  // namespace
}  // namespace recalld::bench
