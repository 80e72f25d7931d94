#include "storage/text_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/storage/support.h"

namespace recalld::storage {
namespace {

using Terms = std::vector<std::string>;

std::vector<int64_t> ids(TextIndex& index, const Terms& terms) {
  const auto matches = index.search(terms);
  EXPECT_TRUE(matches.ok()) << matches.status().to_string();
  std::vector<int64_t> found;
  if (matches.ok())
    for (const TextMatch& match : *matches) found.push_back(match.id);
  return found;
}

class TextIndexTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(index_, TextIndex::create());
    ASSERT_OK(index_->add(3, "Melanie: I painted the lake at sunrise."));
    ASSERT_OK(index_->add(5, "Caroline: The café near the lakes is closed"));
    ASSERT_OK(index_->add(4, "Caroline: Ich wohne in Zürich, 東京 ist weit"));
  }

  std::unique_ptr<TextIndex> index_;
};

TEST_F(TextIndexTest, FindsWordsWhateverTheirCaseEndingAndAccents) {
  EXPECT_EQ(ids(*index_, {"PAINTING"}), (std::vector<int64_t>{3}));
  EXPECT_EQ(ids(*index_, {"lake"}), (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(ids(*index_, {"cafe"}), (std::vector<int64_t>{5}));
  EXPECT_EQ(ids(*index_, {"zurich"}), (std::vector<int64_t>{4}));
  EXPECT_EQ(ids(*index_, {"東京"}), (std::vector<int64_t>{4}));
  EXPECT_EQ(ids(*index_, {"absent"}), (std::vector<int64_t>{}));
  EXPECT_EQ(ids(*index_, {}), (std::vector<int64_t>{}));
}

TEST_F(TextIndexTest, TermsAreNeverSyntax) {
  ASSERT_OK(index_->add(9, "NEAR the OR gate: text* says \"hi\" AND waves NOT - or + ^ {a} (b)"));
  const std::vector<int64_t> only{9};
  EXPECT_EQ(ids(*index_, {"OR"}), only);
  EXPECT_EQ(ids(*index_, {"AND"}), only);
  EXPECT_EQ(ids(*index_, {"NOT"}), only);
  EXPECT_EQ(ids(*index_, {"says \"hi\""}), only);
  EXPECT_EQ(ids(*index_, {"\"hi"}), only);
  EXPECT_EQ(ids(*index_, {"\"\"hi\"\" OR \"lake\""}), (std::vector<int64_t>{})) << "a phrase of words in a row";
  EXPECT_EQ(ids(*index_, {"pai*"}), (std::vector<int64_t>{})) << "no prefix search";
  EXPECT_EQ(ids(*index_, {"NEAR(lake sunrise, 9)"}), (std::vector<int64_t>{}));
  EXPECT_EQ(ids(*index_, {"text:lake"}), (std::vector<int64_t>{}));
  EXPECT_EQ(ids(*index_, {"^text"}), only);
  for (const std::string& odd :
       {std::string("\""), std::string("\"\"\""), std::string("*"), std::string(), std::string("()"),
        std::string("\0", 1), std::string("a\0\"b", 4), std::string("\xff\xfe"), std::string("'; DROP")})
    EXPECT_TRUE(index_->search(Terms{odd}).ok()) << odd;
  EXPECT_EQ(ids(*index_, {std::string("text\0\"", 6), "?"}), only) << "a zero byte separates words";
}

TEST_F(TextIndexTest, ScoresAreBm25TermByTerm) {
  const auto matches = index_->search(Terms{"lake", "sunrise", "lake at"});
  ASSERT_TRUE(matches.ok());
  ASSERT_EQ(matches->size(), 2U);
  const TextMatch& first = (*matches)[0];
  // Rows of 7, 8 and 8 words; "lake" stands in two of three texts, "sunrise" in one.
  const double mean = 23.0 / 3;
  const auto bm25 = [&](double n, double words) {
    return std::log(1 + (3 - n + 0.5) / (n + 0.5)) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * words / mean));
  };
  ASSERT_EQ(first.by_term.size(), 3U);
  EXPECT_NEAR(first.by_term[0], bm25(2, 7), 1e-9);
  EXPECT_NEAR(first.by_term[1], bm25(1, 7), 1e-9);
  EXPECT_NEAR(first.score, first.by_term[0] + first.by_term[1] + first.by_term[2], 1e-12);
  EXPECT_EQ((*matches)[1].by_term[1], 0);
}

TEST_F(TextIndexTest, AnIdIsTakenOnce) {
  EXPECT_EQ(index_->add(3, "again").code(), StatusCode::kAlreadyExists);
  EXPECT_EQ(index_->size(), 3);
  EXPECT_EQ(ids(*index_, {"again"}), (std::vector<int64_t>{}));
}

TEST(TextIndex, AnEmptyOneFindsNothing) {
  ASSERT_OK_AND_ASSIGN(const auto index, TextIndex::create());
  EXPECT_EQ(ids(*index, {"anything"}), (std::vector<int64_t>{}));
  ASSERT_OK(index->add(0, ""));
  ASSERT_OK(index->add(1, "?! ..."));
  EXPECT_EQ(ids(*index, {"anything"}), (std::vector<int64_t>{}));
}

TEST(TextIndex, TenThousandTextsGrowAtTheSameAnswers) {
  ASSERT_OK_AND_ASSIGN(const auto one, TextIndex::create());
  ASSERT_OK_AND_ASSIGN(const auto two, TextIndex::create());
  std::mt19937 random(7);
  for (int64_t id = 0; id < 10000; ++id) {
    std::string text;
    for (int word = 0; word < 20; ++word) text += "w" + std::to_string(random() % 5000) + " ";
    ASSERT_OK(one->add(id, text));
    ASSERT_OK(two->add(id, text));
    // Searching in between changes nothing.
    if (id % 1000 == 0) {
      ASSERT_TRUE(two->search(Terms{"w1"}).ok());
    }
  }
  const Terms terms{"w1", "w77", "w4999"};
  const auto first = one->search(terms), second = two->search(terms);
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_EQ(first->size(), second->size());
  ASSERT_GT(first->size(), 60U);
  for (size_t i = 0; i < first->size(); ++i) {
    EXPECT_EQ((*first)[i].id, (*second)[i].id);
    EXPECT_EQ((*first)[i].score, (*second)[i].score);
    if (i > 0) {
      EXPECT_LT((*first)[i - 1].id, (*first)[i].id);
    }
  }
}

}  // namespace
}  // namespace recalld::storage
