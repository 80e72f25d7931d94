#include "runtime/utf8_stream.h"

#include <gtest/gtest.h>

namespace recalld::runtime {
namespace {

std::string run(const std::string& bytes, size_t size) {
  Utf8Stream stream;
  std::string out;
  for (size_t at = 0; at < bytes.size(); at += size) out += stream.push(std::string_view(bytes).substr(at, size));
  return out + stream.finish();
}

constexpr const char* kBad = "\xEF\xBF\xBD";

TEST(Utf8Stream, ValidTextComesThroughHoweverCut) {
  const std::string text = "plain, naïve, 東京, 😀👩‍👩‍👧, \xF4\x8F\xBF\xBF, \xED\x9F\xBF";
  for (size_t size = 1; size <= text.size(); ++size) EXPECT_EQ(run(text, size), text) << size;
}

TEST(Utf8Stream, EachMaximalInvalidPartBecomesOneReplacement) {
  const std::string bad = kBad;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a\xFF"
       "b",
       "a" + bad + "b"},
      {"\xC0\xAF", bad + bad},                      // overlong
      {"\xED\xA0\x80", bad + bad + bad},            // surrogate
      {"\xF4\x90\x80\x80", bad + bad + bad + bad},  // past U+10FFFF
      {"\xE2\x82", bad},                            // cut off
      {"\xE2\x82"
       "a",
       bad + "a"},
      {"\xF0\x9F\x98"
       "\xF0\x9F\x98\x80",
       bad + "😀"},
      {"\x80\x80", bad + bad},
      // The Unicode standard's own example, table 3-8.
      {"a\xF1\x80\x80\xE1\x80\xC2"
       "b\x80"
       "c\x80\xBF"
       "d",
       "a" + bad + bad + bad + "b" + bad + "c" + bad + bad + "d"},
  };
  for (const auto& [bytes, expected] : cases) {
    for (size_t size = 1; size <= bytes.size(); ++size) EXPECT_EQ(run(bytes, size), expected) << size;
  }
}

TEST(Utf8Stream, HoldsBackOnlyTheIncompleteCharacter) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("ab\xF0\x9F"), "ab");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80"
                        "c"),
            "😀c");
  EXPECT_EQ(stream.finish(), "");
}

}  // namespace
}  // namespace recalld::runtime
