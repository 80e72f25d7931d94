#include <gtest/gtest.h>

#include <hwy/highway.h>

#include "tests/kernels/attend_case.h"

namespace recalld::kernels {
namespace {

constexpr int kBitPairs[][2] = {{16, 16}, {4, 4}, {3, 3}, {2, 2}, {4, 3}, {4, 2}, {3, 2}};

// Formats of keys and values together.
std::vector<std::pair<SideFormat, SideFormat>> format_pairs(int head_dim) {
  std::vector<std::pair<SideFormat, SideFormat>> pairs;
  for (const auto& bits : kBitPairs) pairs.emplace_back(one_band(bits[0]), one_band(bits[1]));
  const std::vector<SideFormat> others = other_formats(head_dim);
  for (size_t i = 0; i < others.size(); ++i) pairs.emplace_back(others[i], others[(i * 3 + 1) % others.size()]);
  return pairs;
}

std::vector<CaseSpec> cases(int head_dim) {
  constexpr int kTokenCounts[] = {1, 5, 16, 17, 63, 64, 100, 128};
  constexpr int kGroups[] = {1, 3, 4, 8};
  std::vector<CaseSpec> specs;
  int turn = head_dim / 16;
  for (const auto& [k, v] : format_pairs(head_dim)) {
    for (const int window : {0, 50}) {
      ++turn;
      CaseSpec spec;
      spec.head_dim = head_dim;
      spec.k = k;
      spec.v = v;
      spec.n_group = kGroups[turn % 4];
      spec.window = window;
      spec.page_tokens = {kTokenCounts[turn % 8], kTokenCounts[(turn * 3 + 2) % 8], kTokenCounts[(turn + 5) % 8]};
      spec.n_queries = 7 + turn % 5;
      spec.behind = turn % 3 == 0 ? 0 : turn * 5 % 70;
      spec.seed = turn;
      specs.push_back(spec);
    }
  }
  return specs;
}

class AttendBlock : public ::testing::TestWithParam<int> {};

// f32 sums in another order: the difference is of a few rounding errors.
TEST_P(AttendBlock, EqualsReferenceOnEveryTarget) {
  AttendScratch scratch;
  for (const CaseSpec& spec : cases(GetParam())) {
    const AttendCase problem(spec);
    StateBuffer expected = problem.new_state();
    reference::attend(problem.shape, problem.queries(), problem.pages, expected.state());
    for (const int64_t target : runnable_targets()) {
      const UseTarget use(target);
      StateBuffer ours = problem.new_state();
      attend_block(problem.shape, problem.queries(), problem.pages, ours.state(), scratch);
      const Distance apart = distance(ours, expected);
      EXPECT_LE(apart.output, 1e-5) << hwy::TargetName(target) << " " << spec.name();
      EXPECT_LE(apart.log_sum, 1e-5) << hwy::TargetName(target) << " " << spec.name();
    }
  }
}

// Each token alone, and the whole block: the same bits, so that a prompt may be cut anywhere.
TEST_P(AttendBlock, RowsDoNotDependOnTheBlock) {
  for (const int64_t target : runnable_targets()) {
    if (target == HWY_SCALAR) continue;  // the reference itself, row by row
    const UseTarget use(target);
    AttendScratch scratch;
    for (CaseSpec spec : cases(GetParam())) {
      spec.n_queries = 20;
      const AttendCase problem(spec);
      StateBuffer whole = problem.new_state();
      attend_block(problem.shape, problem.queries(), problem.pages, whole.state(), scratch);
      for (int i = 0; i < spec.n_queries; i += 3) {
        const int take = std::min(1 + i % 4, spec.n_queries - i);
        const int n_rows = take * spec.n_group;
        const size_t row_floats = static_cast<size_t>(spec.head_dim);
        std::vector<float> q;
        for (int variant = 0; variant < AttendCase::kVariants; ++variant) {
          const size_t first = (static_cast<size_t>(variant) * problem.n_rows() + i * spec.n_group) * row_floats;
          q.insert(q.end(), problem.q.begin() + static_cast<ptrdiff_t>(first),
                   problem.q.begin() + static_cast<ptrdiff_t>(first + n_rows * row_floats));
        }
        StateBuffer part(n_rows, spec.head_dim, AttendCase::kSpaces);
        attend_block(problem.shape, {take, problem.positions.data() + i, q.data()}, problem.pages, part.state(),
                     scratch);
        for (int row = 0; row < n_rows; ++row) {
          const int in_whole = i * spec.n_group + row;
          ASSERT_EQ(part.m[row], whole.m[in_whole]) << hwy::TargetName(target) << " " << spec.name();
          ASSERT_EQ(part.l[row], whole.l[in_whole]) << hwy::TargetName(target) << " " << spec.name();
          if (part.l[row] > 0) {
            ASSERT_EQ(part.output(row), whole.output(in_whole)) << hwy::TargetName(target) << " " << spec.name();
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, AttendBlock, ::testing::Values(64, 80, 96, 128, 256),
                         [](const auto& info) { return "d" + std::to_string(info.param); });

}  // namespace
}  // namespace recalld::kernels
