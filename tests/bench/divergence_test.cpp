#include "bench/recall/metrics/divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace recalld::bench {
namespace {

std::vector<float> logs(const std::vector<double>& probabilities) {
  std::vector<float> out;
  out.reserve(probabilities.size());
  for (const double p : probabilities) out.push_back(static_cast<float>(std::log(p)));
  return out;
}

TEST(Divergence, SoftmaxSumsToOneWhateverTheOffset) {
  std::vector<float> row{1000, 1001, 1002};
  log_softmax(row);
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value));
  EXPECT_NEAR(sum, 1, 1e-6);
  EXPECT_NEAR(row[2] - row[0], 2, 1e-4);
}

TEST(Divergence, KeepsTheLikeliest) {
  const TopTokens top = top_tokens(logs({0.1, 0.4, 0.1, 0.4}), 3);
  ASSERT_EQ(top.tokens.size(), 3U);
  EXPECT_EQ(top.tokens[0].first, 1);
  EXPECT_EQ(top.tokens[1].first, 3);
  EXPECT_EQ(top.tokens[2].first, 0) << "the lower of equals";
  EXPECT_NEAR(top.rest, 0.1, 1e-6);
}

TEST(Divergence, IsTheKlWhenEveryTokenIsKept) {
  const std::vector<float> p = logs({0.5, 0.3, 0.2}), q = logs({0.2, 0.3, 0.5});
  const double expected = 0.5 * std::log(0.5 / 0.2) + 0.2 * std::log(0.2 / 0.5);
  EXPECT_NEAR(kl_divergence(top_tokens(p, 3), q), expected, 1e-5);
  EXPECT_NEAR(kl_divergence(top_tokens(p, 3), p), 0, 1e-6);
}

TEST(Divergence, PutsTheOthersIntoOneBucket) {
  const std::vector<float> p = logs({0.5, 0.3, 0.2}), q = logs({0.2, 0.3, 0.5});
  const double bucket = 0.5 * std::log(0.5 / 0.2) + 0.5 * std::log(0.5 / 0.8);
  EXPECT_NEAR(kl_divergence(top_tokens(p, 1), q), bucket, 1e-5);
  EXPECT_LE(bucket, kl_divergence(top_tokens(p, 3), q));
}

}  // namespace
}  // namespace recalld::bench
