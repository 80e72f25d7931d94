#include "bench/recall/metrics/porter.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace recalld::bench {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

void expect_stems(const Pairs& pairs) {
  for (const auto& [word, stem] : pairs) EXPECT_EQ(porter_stem(word), stem) << word;
}

// The examples of the paper, rule by rule. Where it shows what one step makes of a word, the later steps go on:
// "ponies" is "poni" after all of them as well, "conflated" is "conflate" after step 1b and "conflat" at the end.
TEST(Porter, PluralsOfThePaper) {
  expect_stems({{"caresses", "caress"}, {"ponies", "poni"}, {"ties", "ti"}, {"caress", "caress"}, {"cats", "cat"}});
}

TEST(Porter, PastAndProgressiveOfThePaper) {
  expect_stems({{"feed", "feed"},
                {"agreed", "agre"},
                {"plastered", "plaster"},
                {"bled", "bled"},
                {"motoring", "motor"},
                {"sing", "sing"},
                {"conflated", "conflat"},
                {"troubled", "troubl"},
                {"sized", "size"},
                {"hopping", "hop"},
                {"tanned", "tan"},
                {"falling", "fall"},
                {"hissing", "hiss"},
                {"fizzed", "fizz"},
                {"failing", "fail"},
                {"filing", "file"},
                {"happy", "happi"},
                {"sky", "sky"}});
}

TEST(Porter, SuffixesOfThePaper) {
  expect_stems({{"relational", "relat"},
                {"conditional", "condit"},
                {"rational", "ration"},
                {"valenci", "valenc"},
                {"hesitanci", "hesit"},
                {"digitizer", "digit"},
                {"conformabli", "conform"},
                {"radicalli", "radic"},
                {"differentli", "differ"},
                {"vileli", "vile"},
                {"analogousli", "analog"},
                {"vietnamization", "vietnam"},
                {"predication", "predic"},
                {"operator", "oper"},
                {"feudalism", "feudal"},
                {"decisiveness", "decis"},
                {"hopefulness", "hope"},
                {"callousness", "callous"},
                {"formaliti", "formal"},
                {"sensitiviti", "sensit"},
                {"sensibiliti", "sensibl"},
                {"triplicate", "triplic"},
                {"formative", "form"},
                {"formalize", "formal"},
                {"electriciti", "electr"},
                {"electrical", "electr"},
                {"hopeful", "hope"},
                {"goodness", "good"},
                {"revival", "reviv"},
                {"allowance", "allow"},
                {"inference", "infer"},
                {"airliner", "airlin"},
                {"gyroscopic", "gyroscop"},
                {"adjustable", "adjust"},
                {"defensible", "defens"},
                {"irritant", "irrit"},
                {"replacement", "replac"},
                {"adjustment", "adjust"},
                {"dependent", "depend"},
                {"adoption", "adopt"},
                {"homologou", "homolog"},
                {"communism", "commun"},
                {"activate", "activ"},
                {"angulariti", "angular"},
                {"homologous", "homolog"},
                {"effective", "effect"},
                {"bowdlerize", "bowdler"},
                {"probate", "probat"},
                {"rate", "rate"},
                {"cease", "ceas"},
                {"controll", "control"},
                {"roll", "roll"},
                {"generalizations", "gener"},
                {"oscillators", "oscil"}});
}

TEST(Porter, LeavesAloneWhatIsNoWord) {
  expect_stems(
      {{"", ""}, {"a", "a"}, {"is", "is"}, {"2023", "2023"}, {"7th", "7th"}, {"caf\xC3\xA9s", "caf\xC3\xA9s"}});
}

}  // namespace
}  // namespace recalld::bench
