#include "bench/recall/metrics/f1.h"

#include <gtest/gtest.h>

namespace recalld::bench {
namespace {

TEST(LocomoF1, NormalisesBeforeItCompares) {
  EXPECT_DOUBLE_EQ(locomo_f1("7 May 2023", "7 May 2023", 2), 1);
  EXPECT_DOUBLE_EQ(locomo_f1("The 7 may, 2023.", "7 May 2023", 2), 1) << "case, articles, commas, full stops";
  EXPECT_DOUBLE_EQ(locomo_f1("running and dancing", "run dance", 4), 1) << "stems; 'and' is an article here";
  EXPECT_DOUBLE_EQ(locomo_f1("", "7 May", 2), 0);
  EXPECT_DOUBLE_EQ(locomo_f1("the", "7 May", 2), 0);
}

TEST(LocomoF1, CountsWordsAsOftenAsBothHaveThem) {
  // common {dance}: P = 1/3, R = 1/2.
  EXPECT_DOUBLE_EQ(locomo_f1("dance dance dance", "dance studio", 4), 2.0 * (1.0 / 3) * 0.5 / (1.0 / 3 + 0.5));
  // common {19, january}: P = 2/3, R = 1.
  EXPECT_DOUBLE_EQ(locomo_f1("on 19 January", "19 January", 2), 0.8);
}

TEST(LocomoF1, MultiHopComparesPartByPart) {
  // Gold parts "pottery", "camping", "painting": the first and third are answered, the second is not.
  EXPECT_DOUBLE_EQ(locomo_f1("painting, pottery", "pottery, camping, painting", 1), 2.0 / 3);
  // One part with one of two words right: P = 1/2, R = 1.
  EXPECT_DOUBLE_EQ(locomo_f1("big pottery", "pottery", 1), 2.0 / 3);
  // As a single-hop answer it is one bag of words.
  EXPECT_DOUBLE_EQ(locomo_f1("painting, pottery", "pottery, camping, painting", 4), 0.8);
}

TEST(LocomoF1, OpenDomainTakesTheFirstGold) {
  EXPECT_DOUBLE_EQ(locomo_f1("yes", "Yes; she likes them", 3), 1);
  EXPECT_LT(locomo_f1("yes", "Yes; she likes them", 4), 1);
}

TEST(LocomoF1, AdversarialWantsARefusal) {
  EXPECT_DOUBLE_EQ(locomo_f1("No information available", "anything", 5), 1);
  EXPECT_DOUBLE_EQ(locomo_f1("It is not mentioned.", "anything", 5), 1);
  EXPECT_DOUBLE_EQ(locomo_f1("anything", "anything", 5), 0);
}

TEST(EpicacheF1, HasItsOwnRules) {
  EXPECT_DOUBLE_EQ(epicache_f1("three dogs", "3 dogs"), 1) << "number words are digits";
  EXPECT_DOUBLE_EQ(epicache_f1("running", "run"), 0) << "no stems";
  EXPECT_DOUBLE_EQ(epicache_f1("cats and dogs", "cats dogs"), 0.8) << "'and' stays";
  EXPECT_DOUBLE_EQ(epicache_f1("The cat!", "a cat"), 1);
}

}  // namespace
}  // namespace recalld::bench
