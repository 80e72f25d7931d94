#include "retrieval/dense_index.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <set>

namespace recalld::retrieval {
namespace {

std::vector<float> unit(std::vector<float> vector) {
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * x;
  for (float& x : vector) x /= static_cast<float>(std::sqrt(squares));
  return vector;
}

std::vector<std::vector<float>> clustered(size_t n, size_t dim, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<std::vector<float>> centers(n / 20 + 1, std::vector<float>(dim)), vectors;
  for (auto& center : centers)
    for (float& x : center) x = normal(random);
  for (size_t i = 0; i < n; ++i) {
    std::vector<float> vector = centers[random() % centers.size()];
    for (float& x : vector) x += 0.5F * normal(random);
    vectors.push_back(unit(std::move(vector)));
  }
  return vectors;
}

std::unique_ptr<DenseIndex> filled(const std::vector<std::vector<float>>& vectors, const DenseOptions& options) {
  auto index = DenseIndex::create(static_cast<int32_t>(vectors.front().size()), options).value();
  for (const auto& vector : vectors) EXPECT_TRUE(index->add(vector).ok());
  return index;
}

TEST(DenseIndex, AnEmptyOneFindsNothing) {
  const auto index = DenseIndex::create(3).value();
  EXPECT_TRUE(index->search(unit({1, 0, 0}), 5).value().empty());
  EXPECT_TRUE(index->cosines(unit({1, 0, 0})).value().empty());
  EXPECT_TRUE(index->sample(unit({1, 0, 0}), 5).value().empty());
}

TEST(DenseIndex, EqualVectorsComeInTheirOrderAndZeroVectorsNever) {
  for (const int64_t exact_limit : {100, 0}) {
    const auto index = filled({{0, 0}, {1, 0}, unit({1, 1}), {1, 0}, {0, 0}, {-1, 0}}, {.exact_limit = exact_limit});
    EXPECT_EQ(index->exact(), exact_limit > 0);
    const auto found = index->search(unit({1, 0}), 6).value();
    ASSERT_EQ(found.size(), 4U);
    EXPECT_EQ(found[0].id, 1);
    EXPECT_EQ(found[1].id, 3);
    EXPECT_EQ(found[2].id, 2);
    EXPECT_EQ(found[3].id, 5) << "a vector that points away still beats one that says nothing";
    EXPECT_NEAR(found[3].cosine, -1, 1e-6);
    EXPECT_TRUE(index->search(std::vector<float>{0, 0}, 6).value().empty());
    EXPECT_TRUE(index->search(unit({1, 0}), 0).value().empty());
  }
}

TEST(DenseIndex, RefusesWhatDoesNotFit) {
  EXPECT_EQ(DenseIndex::create(0).status().code(), StatusCode::kInvalidArgument);
  const auto index = DenseIndex::create(2).value();
  EXPECT_EQ(index->add(std::vector<float>{1}).code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(index->add(std::vector<float>{1, std::numeric_limits<float>::quiet_NaN()}).code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(index->search(std::vector<float>{1, 0, 0}, 1).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(index->size(), 0);
}

TEST(DenseIndex, GroupsFindWhatBruteForceFinds) {
  const auto vectors = clustered(3000, 32, 1);
  const auto exact = filled(vectors, {});
  const auto grouped = filled(vectors, {.exact_limit = 500});
  ASSERT_TRUE(exact->exact());
  ASSERT_FALSE(grouped->exact());
  EXPECT_EQ(grouped->cosines(vectors[0]).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(grouped->sample(vectors[0], 100).value(), exact->sample(vectors[0], 100).value());
  int hits = 0;
  for (size_t q = 0; q < 100; ++q) {
    const auto nearest = exact->search(vectors[q * 29], 10).value(),
               found = grouped->search(vectors[q * 29], 10).value();
    EXPECT_EQ(found.front().id, static_cast<int64_t>(q * 29));
    std::set<int64_t> ids;
    for (const DenseMatch& match : found) ids.insert(match.id);
    for (const DenseMatch& match : nearest) hits += ids.contains(match.id) ? 1 : 0;
  }
  EXPECT_GE(hits, 900) << "of 1000";
}

TEST(DenseIndex, SameVectorsSameAnswers) {
  const auto vectors = clustered(2000, 16, 2);
  const auto one = filled(vectors, {.exact_limit = 300}), two = filled(vectors, {.exact_limit = 300});
  for (size_t q = 0; q < 50; ++q) {
    const auto first = one->search(vectors[q], 20).value(), second = two->search(vectors[q], 20).value();
    ASSERT_EQ(first.size(), second.size());
    for (size_t i = 0; i < first.size(); ++i) {
      EXPECT_EQ(first[i].id, second[i].id);
      EXPECT_EQ(first[i].cosine, second[i].cosine);
    }
  }
}

}  // namespace
}  // namespace recalld::retrieval
