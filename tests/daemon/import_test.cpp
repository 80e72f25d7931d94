#include "daemon/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"

namespace recalld::daemon {
namespace {

using ::testing::HasSubstr;

std::string line(const std::string& text) { return "{\"role\":\"user\",\"content\":\"" + text + "\"}\n"; }

std::string ndjson_error(const std::string& text) { return parse_ndjson(text).status().message(); }

TEST(Ndjson, TakesWhatPeopleSend) {
  const auto messages = parse_ndjson(
      "\xEF\xBB\xBF{\"role\":\"user\",\"content\":\"a\",\"speaker\":\"Ada\",\"time\":\"2023-05-08T13:56:00+02:00\"}\r\n"
      "\r\n   \n{\"role\":\"assistant\",\"content\":\"b\",\"extra\":1}");
  ASSERT_TRUE(messages.ok()) << messages.status().message();
  ASSERT_EQ(messages->size(), 2U);
  EXPECT_EQ(messages->at(0).speaker, "Ada");
  EXPECT_EQ(format_rfc3339(*messages->at(0).time_ms), "2023-05-08T11:56:00Z");
  EXPECT_EQ(messages->at(1).role, "assistant");
  EXPECT_FALSE(messages->at(1).time_ms.has_value());
}

TEST(Ndjson, ErrorsNameTheLine) {
  std::string text;
  for (int i = 1; i <= 20; ++i) text += i == 17 ? "{\"role\":\"user\",\"content\":17}\n" : line("x");
  EXPECT_THAT(ndjson_error(text), ::testing::AllOf(HasSubstr("line 17"), HasSubstr("\"content\"")));
  EXPECT_THAT(ndjson_error(line("a") + "\n" + "{\"role\":\"user\" \"content\"}\n"), HasSubstr("line 3, column 16"));
  EXPECT_THAT(ndjson_error(line("a") + "[1]\n"), HasSubstr("line 2: the message must be an object"));
  EXPECT_THAT(ndjson_error(line("a") + "{\"role\":\"user\",\"content\":\"x\",\"time\":\"yesterday\"}"),
              ::testing::AllOf(HasSubstr("line 2"), HasSubstr("\"time\""), HasSubstr("RFC 3339")));
  EXPECT_THAT(ndjson_error("{\"role\":\"user\",\"content\":\"\xFF\"}"), HasSubstr("line 1"));
  EXPECT_THAT(ndjson_error("{\"role\":\"user\",\"content\":\"a\\u0000\"}"), HasSubstr("NUL"));
}

TEST(Ndjson, FileCutInTheMiddleIsAnErrorAtEveryByteButLineEnds) {
  const std::string text = line("one") + line("two") + line("three");
  for (size_t cut = 1; cut < text.size(); ++cut) {
    const auto messages = parse_ndjson(text.substr(0, cut));
    const bool whole_lines = text[cut - 1] == '\n' || text[cut] == '\n';
    EXPECT_EQ(messages.ok(), whole_lines) << cut;
  }
}

TEST(Ndjson, EmptyIsAnError) {
  for (const char* text : {"", "\n\n", "\xEF\xBB\xBF", " \r\n"})
    EXPECT_THAT(ndjson_error(text), HasSubstr("no messages"));
}

constexpr auto kLocomo = R"({"sample_id":"conv-1","qa":[],"conversation":{
  "speaker_a":"Ann","speaker_b":"Bob",
  "session_2_date_time":"12:05 am on 1 June, 2023",
  "session_2":[{"speaker":"Bob","dia_id":"D2:1","text":"","blip_caption":"a red canoe"}],
  "session_10_date_time":"10:00 pm on 2 June, 2023",
  "session_10":[{"speaker":"Ann","text":"last"}],
  "session_1_date_time":"1:56 pm on 8 May, 2023",
  "session_1":[{"speaker":"Ann","text":"Look!","blip_caption":"a lake"},{"speaker":"Bob","text":"Nice."}],
  "session_3":[{"speaker":"Ann","text":"undated"}]}})";

TEST(Locomo, TurnsAreDatedAndOrdered) {
  for (const std::string& text : {std::string(kLocomo), "[" + std::string(kLocomo) + "]"}) {
    const auto messages = parse_locomo(text);
    ASSERT_TRUE(messages.ok()) << messages.status().message();
    ASSERT_EQ(messages->size(), 5U);
    const Message& first = messages->at(0);
    EXPECT_EQ(first.role, "user");
    EXPECT_EQ(first.speaker, "Ann");
    EXPECT_EQ(first.text, "Look! [shares a photo: a lake]");
    EXPECT_EQ(format_rfc3339(*first.time_ms), "2023-05-08T13:56:00Z");
    EXPECT_EQ(messages->at(1).role, "assistant");
    EXPECT_EQ(messages->at(2).text, "[shares a photo: a red canoe]");
    EXPECT_EQ(format_rfc3339(*messages->at(2).time_ms), "2023-06-01T00:05:00Z");
    EXPECT_FALSE(messages->at(3).time_ms.has_value());
    EXPECT_EQ(messages->at(4).text, "last");
  }
}

TEST(Locomo, ErrorsNameThePlace) {
  const auto error = [](const std::string& text) { return parse_locomo(text).status().message(); };
  EXPECT_THAT(error("{\n\"conversation\": {\n"), HasSubstr("line 3"));
  EXPECT_THAT(error("{}"), HasSubstr("application/x-ndjson"));
  EXPECT_THAT(error("[{},{}]"), HasSubstr("2 conversations"));
  EXPECT_THAT(error(R"({"speaker_a":"A","speaker_b":"B"})"), HasSubstr("no turns"));
  EXPECT_THAT(error(R"({"speaker_a":"A","speaker_b":"B","session_1":[{"speaker":"C","text":"x"}]})"),
              ::testing::AllOf(HasSubstr("session_1[0]"), HasSubstr("\"C\"")));
  EXPECT_THAT(error(R"({"speaker_a":"A","speaker_b":"B","session_1":[{"speaker":"A"}]})"), HasSubstr("\"text\""));
  EXPECT_THAT(error(R"({"speaker_a":"A","speaker_b":"B","session_1_date_time":"soon","session_1":[]})"),
              HasSubstr("session_1_date_time"));
  EXPECT_THAT(error(R"({"speaker_a":"A","speaker_b":"B","session_1":{}})"), HasSubstr("an array"));
}

TEST(Locomo, Times) {
  const auto shown = [](const char* text) { return format_rfc3339(*parse_locomo_time(text)); };
  EXPECT_EQ(shown("1:56 pm on 8 May, 2023"), "2023-05-08T13:56:00Z");
  EXPECT_EQ(shown("12:00 am on 29 February, 2024"), "2024-02-29T00:00:00Z");
  EXPECT_EQ(shown("12:30 PM on 31 Dec, 1999"), "1999-12-31T12:30:00Z");
  for (const char* wrong : {"", "13:00 pm on 8 May, 2023", "1:60 pm on 8 May, 2023", "1:56 on 8 May, 2023",
                            "1:56 pm on 31 June, 2023", "1:56 pm on 29 February, 2023", "1:56 pm on 8 Ma, 2023",
                            "1:56 pm on 8 Mayday, 2023", "1:56 pm on 8 May, 2023 x", "1:56 pm on 0 May, 2023"})
    EXPECT_FALSE(parse_locomo_time(wrong).ok()) << wrong;
}

TEST(MessagesDigest, FollowsTheContentAlone) {
  const auto one = parse_ndjson("{\"role\":\"user\",\"content\":\"ab\"}\n");
  const auto same = parse_ndjson("{ \"content\":\"ab\", \"role\":\"user\" }\r\n\n");
  EXPECT_EQ(messages_digest(*one), messages_digest(*same));
  const Message a{"user", "", "ab", std::nullopt};
  for (const Message& other : {Message{"assistant", "", "ab", std::nullopt}, Message{"user", "a", "b", std::nullopt},
                               Message{"user", "", "ab", 0}, Message{"user", "", "abc", std::nullopt}})
    EXPECT_NE(messages_digest(std::vector{a}), messages_digest(std::vector{other}));
  EXPECT_NE(messages_digest(std::vector{a}), messages_digest(std::vector{a, a}));
}

}  // namespace
}  // namespace recalld::daemon
