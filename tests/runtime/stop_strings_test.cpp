#include "runtime/stop_strings.h"

#include <gtest/gtest.h>

namespace recalld::runtime {
namespace {

// Everything that comes out when `text` goes in, in pieces of `size` bytes.
std::string run(const std::vector<std::string>& stops, const std::string& text, size_t size, bool* stopped) {
  StopStrings matcher(stops);
  std::string out;
  for (size_t at = 0; at < text.size(); at += size) out += matcher.push(text.substr(at, size));
  *stopped = matcher.stopped();
  if (!*stopped) out += matcher.finish();
  return out;
}

TEST(StopStrings, SameOutcomeForEveryWayOfCutting) {
  struct Case {
    std::vector<std::string> stops;
    std::string text, expected;
    bool stopped;
  };
  const std::vector<Case> cases = {
      {{"END"}, "one two END three", "one two ", true},
      {{"END"}, "one EN two E", "one EN two E", false},
      {{"aab"}, "aaaab", "aa", true},
      {{"abab", "bc"}, "xababab", "x", true},
      {{"abcd", "bc"}, "abcd", "a", true},
      {{"xyz", "yz", "z"}, "wxyz", "w", true},
      {{"\n\n"}, "a\nb\n\nc", "a\nb", true},
      {{""}, "nothing stops this", "nothing stops this", false},
      {{}, "nor this", "nor this", false},
      {{"stop"}, "stop", "", true},
      {{"Straße"}, "die Straße", "die ", true},
  };
  for (const Case& c : cases) {
    for (size_t size = 1; size <= c.text.size(); ++size) {
      bool stopped = false;
      EXPECT_EQ(run(c.stops, c.text, size, &stopped), c.expected) << c.text << " in pieces of " << size;
      EXPECT_EQ(stopped, c.stopped) << c.text << " in pieces of " << size;
    }
  }
}

TEST(StopStrings, HoldsNoMoreThanABegunStopString) {
  StopStrings matcher({"<end>"});
  EXPECT_EQ(matcher.push("hello <e"), "hello ");
  EXPECT_EQ(matcher.push("m>"), "<em>");
  EXPECT_EQ(matcher.push(" x<en"), " x");
  EXPECT_EQ(matcher.push("d> y"), "");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("z"), "");
}

}  // namespace
}  // namespace recalld::runtime
