#include "retrieval/time_expression.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace recalld::retrieval {
namespace {

int64_t ms(const std::string& day) {
  int64_t unix_ms = 0;
  EXPECT_TRUE(parse_rfc3339((day.size() == 10 ? day + "T00:00:00" : day) + "Z", &unix_ms)) << day;
  return unix_ms;
}

std::string shown(const std::vector<TimeInterval>& intervals) {
  std::string text;
  for (const TimeInterval& interval : intervals)
    text += (text.empty() ? "" : " ") + format_rfc3339(interval.first_ms).substr(0, 10) + ".." +
            format_rfc3339(interval.end_ms).substr(0, 10);
  return text;
}

struct Case {
  const char* text;
  const char* intervals;
};

class TimeTable : public ::testing::TestWithParam<Case> {};

// Asked on Wednesday, 14 June 2023; the history runs from March to June 2023.
TEST_P(TimeTable, IsReadAsWritten) {
  const TimeContext context{ms("2023-06-14T15:30:00"), ms("2023-03-01"), ms("2023-06-13")};
  EXPECT_EQ(shown(find_times(GetParam().text, context)), GetParam().intervals) << GetParam().text;
}

INSTANTIATE_TEST_SUITE_P(
    Dates, TimeTable,
    ::testing::Values(
        Case{"What happened on 7 May 2023?", "2023-05-07..2023-05-08"},
        Case{"the 7th of May, 2023", "2023-05-07..2023-05-08"}, Case{"on May 7th, 2023", "2023-05-07..2023-05-08"},
        Case{"On October 13, 2023 she", "2023-10-13..2023-10-14"}, Case{"since 2023-05-07", "2023-05-07..2023-05-08"},
        Case{"31 February 2023", "2023-02-01..2023-03-01"}, Case{"in May 2023", "2023-05-01..2023-06-01"},
        Case{"in December of 2022", "2022-12-01..2023-01-01"}, Case{"the summer of 2022", "2022-06-01..2022-09-01"},
        Case{"winter 2022", "2022-12-01..2023-03-01"}, Case{"How often in 2022?", "2022-01-01..2023-01-01"},
        Case{"29 Feb 2024", "2024-02-29..2024-03-01"},
        Case{"May 3 and July 2021", "2022-05-03..2022-05-04 2023-05-03..2023-05-04 2021-07-01..2021-08-01"},
        Case{"camping in June", "2022-06-01..2022-07-01 2023-06-01..2023-07-01"},
        Case{"during the summer", "2022-06-01..2022-09-01 2023-06-01..2023-09-01"}));

INSTANTIATE_TEST_SUITE_P(
    Relative, TimeTable,
    ::testing::Values(Case{"yesterday", "2023-06-13..2023-06-14"}, Case{"today?", "2023-06-14..2023-06-15"},
                      Case{"tomorrow", "2023-06-15..2023-06-16"}, Case{"last week", "2023-06-05..2023-06-12"},
                      Case{"this week", "2023-06-12..2023-06-19"}, Case{"next month", "2023-07-01..2023-08-01"},
                      Case{"last weekend", "2023-06-10..2023-06-12"}, Case{"last year", "2022-01-01..2023-01-01"},
                      Case{"last Friday", "2023-06-09..2023-06-10"}, Case{"next Friday", "2023-06-16..2023-06-17"},
                      Case{"on Monday", "2023-06-12..2023-06-13"}, Case{"on Wednesday", "2023-06-07..2023-06-08"},
                      Case{"last May", "2023-05-01..2023-06-01"}, Case{"last summer", "2022-06-01..2022-09-01"},
                      Case{"last September", "2022-09-01..2022-10-01"},
                      Case{"two months ago", "2023-04-01..2023-05-01"}, Case{"a week ago", "2023-06-05..2023-06-12"},
                      Case{"a couple of days ago", "2023-06-12..2023-06-13"},
                      Case{"3 years ago", "2020-01-01..2021-01-01"},
                      Case{"the past ten days", "2023-06-04..2023-06-15"},
                      Case{"in the last few months", "2023-03-01..2023-06-15"}));

INSTANTIATE_TEST_SUITE_P(NoTimes, TimeTable,
                         ::testing::Values(Case{"", ""}, Case{"May I ask who will march and fall?", ""},
                                           Case{"She may go", ""}, Case{"What was the last book?", ""},
                                           Case{"room 12, floor 3", ""}, Case{"99999 and 20231", ""},
                                           Case{"a few people in this house", ""}, Case{"week month year", ""},
                                           Case{"\xff\xfe of of of", ""}));

TEST(FindTimes, WithoutTheQuestionsTimeOnlyDatesAreRead) {
  EXPECT_EQ(shown(find_times("yesterday, last week, two months ago, on Friday, last May, 3 May 2020", {})),
            "2020-05-03..2020-05-04");
  EXPECT_EQ(shown(find_times("in June", {ms("2023-06-14"), {}, {}})), "2023-06-01..2023-07-01");
}

TEST(FindTimes, KeepsTheWordsItReadAndABound) {
  const auto found = find_times("Was it the 7th of May, 2023?", {});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].expression, "7th of may 2023");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "2020 ";
  EXPECT_EQ(find_times(many, {}).size(), 64U);
}

TEST(TimeFit, FallsWithTheDistance) {
  const std::vector<TimeInterval> may = find_times("in May 2023", {});
  EXPECT_EQ(time_fit(may, ms("2023-05-01"), ms("2023-05-01")), 1);
  EXPECT_EQ(time_fit(may, ms("2023-04-01"), ms("2023-07-01")), 1);
  EXPECT_EQ(time_fit(may, ms("2023-05-31"), std::nullopt), 1);
  const double near = time_fit(may, ms("2023-06-03"), ms("2023-06-03")),
               far = time_fit(may, ms("2023-08-01"), ms("2023-08-01"));
  EXPECT_GT(near, 0.7);
  EXPECT_LT(near, 1);
  EXPECT_LT(far, 0.1);
  EXPECT_EQ(time_fit(may, std::nullopt, std::nullopt), 0);
  EXPECT_EQ(time_fit({}, ms("2023-05-01"), ms("2023-05-01")), 0);
}

TEST(NamesTime, KnowsTimesInATurn) {
  for (const char* text :
       {"I went yesterday", "It was last Friday", "back in 2019", "in May", "three weeks ago", "June!"})
    EXPECT_TRUE(names_time(text)) << text;
  for (const char* text : {"", "you may go", "I love pottery", "room 1000"}) EXPECT_FALSE(names_time(text)) << text;
}

}  // namespace
}  // namespace recalld::retrieval
