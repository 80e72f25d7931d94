#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>

#include "tests/kernels/attend_case.h"

namespace recalld::kernels {
namespace {

constexpr int kBitPairs[][2] = {{16, 16}, {4, 4}, {3, 3}, {2, 2}, {4, 3}, {4, 2}, {3, 2}, {2, 4}, {16, 4}, {4, 16}};
constexpr int kTokenCounts[] = {1, 5, 16, 17, 63, 64, 100, 128, 256};
constexpr int kGroups[] = {1, 3, 4, 8};

// Formats of keys and values together: all widths, then the others, with each other and with halves.
std::vector<std::pair<SideFormat, SideFormat>> format_pairs(int head_dim) {
  std::vector<std::pair<SideFormat, SideFormat>> pairs;
  for (const auto& bits : kBitPairs) pairs.emplace_back(one_band(bits[0]), one_band(bits[1]));
  const std::vector<SideFormat> others = other_formats(head_dim);
  for (size_t i = 0; i < others.size(); ++i) pairs.emplace_back(others[i], others[(i * 3 + 1) % others.size()]);
  pairs.emplace_back(others[0], one_band(16));
  pairs.emplace_back(one_band(16), affine_band(2));
  return pairs;
}

// Cases over all formats for one head_dim; counts, groups and windows take turns.
std::vector<CaseSpec> cases(int head_dim) {
  std::vector<CaseSpec> specs;
  int turn = head_dim / 16;
  for (const auto& [k, v] : format_pairs(head_dim)) {
    for (const int window : {0, 90}) {
      ++turn;
      CaseSpec spec;
      spec.head_dim = head_dim;
      spec.k = k;
      spec.v = v;
      spec.n_group = kGroups[turn % 4];
      spec.window = window;
      spec.page_tokens = {kTokenCounts[turn % 9], kTokenCounts[(turn * 2 + 5) % 9], kTokenCounts[(turn + 4) % 9]};
      spec.n_queries = 1 + turn % 3;
      spec.behind = turn % 4 == 0 ? 0 : turn * 7 % 40;
      spec.seed = turn;
      specs.push_back(spec);
    }
  }
  return specs;
}

class AttendDecode : public ::testing::TestWithParam<int> {};

// The integers are the same everywhere, and so is every sum over coded numbers. Sums over halves are fused where the
// processor can fuse, as in the reference.
TEST_P(AttendDecode, EqualsReferenceOnEveryTarget) {
  AttendScratch scratch;
  for (const CaseSpec& spec : cases(GetParam())) {
    const AttendCase problem(spec);
    StateBuffer expected = problem.new_state();
    reference::attend_decode(problem.shape, problem.queries(), problem.pages, expected.state());
    for (const int64_t target : runnable_targets()) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + " " + spec.name());
      const UseTarget use(target);
      StateBuffer ours = problem.new_state();
      attend_decode(problem.shape, problem.queries(), problem.pages, ours.state(), scratch);
      const bool fused = target != HWY_SSE4 || (!spec.k.halves() && !spec.v.halves());
      if (fused) {
        EXPECT_EQ(ours.m, expected.m);
        EXPECT_EQ(ours.l, expected.l);
        EXPECT_EQ(ours.acc, expected.acc);
      } else {
        // Where a weight lies between two integers a last bit of the score may tip it: 1/255 of the largest.
        EXPECT_LE(distance(ours, expected).output, spec.v.halves() ? 1e-5 : 8e-3);
        EXPECT_LE(distance(ours, expected).log_sum, 1e-5);
      }
    }
  }
}

// What 8-bit queries and weights cost. A rounded query changes a score by a normal error of deviation
// s = step |k| scale / sqrt(12), step = max|q| / 127: with |k| ~ sqrt(d), scale = 1 / sqrt(d) and max|q| ~ 3.3 * 1.5,
// s ~ 0.011, and the output, a mean of independent values, by about s of its length. Weights rounded to 1/255 of the
// tile's largest change a tile's sum by at most sqrt(64 / 12) / 255 = 0.009 of its largest term. Together ~0.015; a
// row sees four of these at most.
TEST_P(AttendDecode, RoundingStaysSmall) {
  AttendScratch scratch;
  double sum = 0;
  int n = 0;
  for (const CaseSpec& spec : cases(GetParam())) {
    const AttendCase problem(spec);
    StateBuffer ours = problem.new_state(), expected = problem.new_state();
    attend_decode(problem.shape, problem.queries(), problem.pages, ours.state(), scratch);
    reference::attend(problem.shape, problem.queries(), problem.pages, expected.state());
    const Distance apart = distance(ours, expected);
    const bool exact = spec.k.halves() && spec.v.halves();
    EXPECT_LE(apart.output, exact ? 1e-5 : 0.06) << spec.name();
    EXPECT_LE(apart.log_sum, exact ? 1e-5 : 0.06) << spec.name();
    if (exact) continue;
    sum += apart.output;
    ++n;
  }
  EXPECT_LE(sum / n, 0.02);
}

INSTANTIATE_TEST_SUITE_P(HeadDims, AttendDecode, ::testing::Values(64, 80, 96, 128, 256),
                         [](const auto& info) { return "d" + std::to_string(info.param); });

// Pages of different codecs in one view share m and l.
TEST(AttendDecodeMixed, PagesOfAllFormatsInOneView) {
  for (const int64_t target : runnable_targets()) {
    if (target == HWY_SSE4) continue;  // halves are not fused there
    const UseTarget use(target);
    CaseSpec spec;
    spec.page_tokens = {};
    spec.n_queries = 2;
    AttendCase problem(spec);
    std::mt19937 random(11);
    int view = 0, i = 0;
    for (const auto& [k, v] : format_pairs(spec.head_dim)) {
      const int n_tokens = kTokenCounts[i % 9];
      problem.owners.emplace_back(random, n_tokens, spec.head_dim, k, v, i % 2 == 0);
      problem.pages.push_back(problem.owners.back().slice);
      problem.pages.back().view_start = view;
      problem.pages.back().variant = i % 3;
      problem.pages.back().space = v.halves() ? 0 : 1;
      view += n_tokens;
      ++i;
    }
    problem.positions = {view - 20, view - 1};
    AttendScratch scratch;
    StateBuffer ours = problem.new_state(), expected = problem.new_state();
    attend_decode(problem.shape, problem.queries(), problem.pages, ours.state(), scratch);
    reference::attend_decode(problem.shape, problem.queries(), problem.pages, expected.state());
    EXPECT_EQ(ours.acc, expected.acc) << hwy::TargetName(target);
    EXPECT_EQ(ours.l, expected.l) << hwy::TargetName(target);

    StateBuffer block = problem.new_state(), exact = problem.new_state();
    attend_block(problem.shape, problem.queries(), problem.pages, block.state(), scratch);
    reference::attend(problem.shape, problem.queries(), problem.pages, exact.state());
    EXPECT_LE(distance(block, exact).output, 1e-5) << hwy::TargetName(target);
  }
}

}  // namespace
}  // namespace recalld::kernels
