#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/service.h"

namespace recalld::daemon {
namespace {

using namespace std::string_literals;

TEST(TextCheck, AcceptsEveryEndOfEveryRange) {
  for (const std::string& text : {""s, "plain"s, "\x7F"s, "\xC2\x80"s, "\xDF\xBF"s, "\xE0\xA0\x80"s, "\xED\x9F\xBF"s,
                                  "\xEE\x80\x80"s, "\xEF\xBF\xBF"s, "\xF0\x90\x80\x80"s, "\xF4\x8F\xBF\xBF"s})
    EXPECT_TRUE(check_text(text, "text").ok()) << testing::PrintToString(text);
}

TEST(TextCheck, RefusesWhatIsNotUtf8AndTellsWhere) {
  for (const std::string& bad :
       {"\x80"s, "\xC1\xBF"s, "\xC2"s, "\xE0\x9F\xBF"s, "\xED\xA0\x80"s, "\xE1\x80"s, "\xF0\x8F\xBF\xBF"s,
        "\xF4\x90\x80\x80"s, "\xF5\x80\x80\x80"s, "\xFF"s, "\xF1\x80\x80"s}) {
    const Status status = check_text("ab" + bad + "c", "the field");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), testing::HasSubstr("the field is not valid UTF-8 at byte 2"));
  }
  EXPECT_THAT(check_text("a\0b"s, "it").message(), testing::HasSubstr("NUL character at byte 1"));
}

}  // namespace
}  // namespace recalld::daemon
