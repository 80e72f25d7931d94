#include "kernels/key_weights.h"

#include <gtest/gtest.h>

#include <hwy/highway.h>

#include <limits>
#include <numeric>

#include "tests/kernels/attend_case.h"

namespace recalld::kernels {
namespace {

size_t n_keys(const AttendCase& problem) {
  return static_cast<size_t>(std::accumulate(problem.spec.page_tokens.begin(), problem.spec.page_tokens.end(), 0));
}

class KeyWeights : public ::testing::TestWithParam<int> {};

TEST_P(KeyWeights, EqualReferenceOnEveryTarget) {
  AttendScratch scratch;
  int seed = GetParam();
  std::vector<SideFormat> formats{one_band(16), one_band(4), one_band(3), one_band(2)};
  for (const SideFormat& format : other_formats(GetParam())) formats.push_back(format);
  for (const SideFormat& format : formats) {
    for (const int window : {0, 50}) {
      CaseSpec spec;
      spec.head_dim = GetParam();
      spec.k = format;
      spec.window = window;
      spec.n_group = 1 + seed % 4;
      spec.page_tokens = {1 + seed % 90, 64, 130, 17};
      spec.n_queries = 9 + seed % 20;
      spec.behind = window == 0 ? 0 : 60;
      spec.seed = ++seed;
      const AttendCase problem(spec);
      for (const WeightReduce reduce : {WeightReduce::kMax, WeightReduce::kSum}) {
        std::vector<float> expected(n_keys(problem), 0.01F);
        reference::key_weights(problem.shape, problem.queries(), problem.pages, reduce, expected.data());
        for (const int64_t target : runnable_targets()) {
          const UseTarget use(target);
          std::vector<float> ours(n_keys(problem), 0.01F);
          key_weights(problem.shape, problem.queries(), problem.pages, reduce, ours.data(), scratch);
          for (size_t i = 0; i < ours.size(); ++i)
            ASSERT_NEAR(ours[i], expected[i], 2e-5 * static_cast<double>(expected[i]) + 1e-7)
                << hwy::TargetName(target) << " " << spec.name() << " key " << i;
        }
      }
    }
  }
}

// A query's weights sum to 1 over what it sees, and one that sees nothing or is not a number adds nothing.
TEST_P(KeyWeights, SumToTheRowsThatSee) {
  CaseSpec spec;
  spec.head_dim = GetParam();
  spec.k = spec.v = one_band(16);
  spec.page_tokens = {20};
  spec.n_queries = 30;  // the first ten stand before every key
  AttendCase problem(spec);
  const size_t last_row = static_cast<size_t>(problem.n_rows()) - 1;
  for (int variant = 0; variant < AttendCase::kVariants; ++variant)
    problem.q[(static_cast<size_t>(variant * problem.n_rows()) + last_row) * static_cast<size_t>(spec.head_dim)] =
        std::numeric_limits<float>::quiet_NaN();
  AttendScratch scratch;
  for (const int64_t target : runnable_targets()) {
    const UseTarget use(target);
    std::vector<float> weights(20);
    key_weights(problem.shape, problem.queries(), problem.pages, WeightReduce::kSum, weights.data(), scratch);
    EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 20 * spec.n_group - 1, 1e-3)
        << hwy::TargetName(target);
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, KeyWeights, ::testing::Values(64, 80, 96, 128, 256),
                         [](const auto& info) { return "d" + std::to_string(info.param); });

}  // namespace
}  // namespace recalld::kernels
