#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "kernels/cuda/lane/attend_coded.cuh"
#include "kernels/cuda/lane/attend_plain.cuh"
#include "kernels/cuda/lane/merge.cuh"
#include "tests/cuda/cases.h"
#include "tests/kernels/lanes/emulated_warp.h"

namespace recalld::kernels::cuda {
namespace {

// As the host does: tiles of each space by themselves, cut into parts, a warp for each part, and all parts merged.
HostState attend_by_warps(const AttendCase& problem, bool coded, int tiles_per_part) {
  AttendArgs args;
  args.shape = problem.shape;
  args.n_tokens = problem.spec.n_tokens;
  args.n_variants = AttendCase::kVariants;
  args.n_spaces = AttendCase::kSpaces;
  args.slices = problem.pages.data();
  args.q = problem.q.data();
  args.positions = problem.positions.data();
  args.levels = level_tables();
  const int n_rows = problem.n_rows(), head_dim = problem.spec.head_dim;

  struct Part {
    int space;
    std::vector<float> m, l, acc;
  };
  std::vector<Part> parts;
  for (int space = 0; space < AttendCase::kSpaces; ++space) {
    std::vector<AttendTile> tiles;
    for (size_t i = 0; i < problem.pages.size(); ++i)
      for (int token = 0; token < problem.pages[i].n_tokens && problem.pages[i].space == space; token += kTile)
        tiles.push_back({static_cast<int32_t>(i), token});
    args.tiles = tiles.data();
    const auto n_tiles = static_cast<int>(tiles.size());
    for (int first = 0; first < n_tiles; first += tiles_per_part) {
      parts.push_back({space, {}, {}, {}});
      for (int row = 0; row < n_rows; row += kRows) {
        const auto run = [&](auto& memory, const auto& attend) {
          std::memset(static_cast<void*>(&memory), 0x7f, sizeof memory);
          run_warps(1, [&](EmulatedWarp& warp) {
            attend(warp, args, 0, row, first, std::min(first + tiles_per_part, n_tiles), memory);
          });
          for (int i = 0; i < kRows && row + i < n_rows; ++i) {
            parts.back().m.push_back(memory.m[i]);
            parts.back().l.push_back(memory.l[i]);
            parts.back().acc.insert(parts.back().acc.end(), memory.acc() + i * head_dim,
                                    memory.acc() + (i + 1) * head_dim);
          }
        };
        const bool trellis = problem.spec.k.grid == Grid::kTrellis || problem.spec.v.grid == Grid::kTrellis;
        const auto coded_attend = [trellis](auto&&... a) {
          trellis ? attend_coded<true>(a...) : attend_coded<false>(a...);
        };
        const auto plain_attend = [](auto&&... a) { attend_plain(a...); };
        if (!coded) {
          run(*std::make_unique<PlainMemory<8>>(), plain_attend);
        } else if (head_dim <= 64) {
          run(*std::make_unique<CodedMemory<2>>(), coded_attend);
        } else if (head_dim <= 128) {
          run(*std::make_unique<CodedMemory<4>>(), coded_attend);
        } else {
          run(*std::make_unique<CodedMemory<8>>(), coded_attend);
        }
      }
    }
  }

  HostState state(n_rows, head_dim, AttendCase::kSpaces);
  const auto n = static_cast<int>(parts.size());
  for (int row = 0; row < n_rows; ++row) {
    const auto m = [&](int i) { return parts[static_cast<size_t>(i)].m[static_cast<size_t>(row)]; };
    const auto l = [&](int i) { return parts[static_cast<size_t>(i)].l[static_cast<size_t>(row)]; };
    const MergedSums sums = merge_sums(n, m, l);
    state.m[static_cast<size_t>(row)] = sums.m;
    state.l[static_cast<size_t>(row)] = sums.l;
    for (int space = 0; space < AttendCase::kSpaces; ++space)
      for (int j = 0; j < head_dim; ++j)
        state.acc[static_cast<size_t>((space * n_rows + row) * head_dim + j)] = merge_number(n, sums.m, m, [&](int i) {
          const Part& part = parts[static_cast<size_t>(i)];
          return part.space == space ? part.acc[static_cast<size_t>(row * head_dim + j)] : 0.0F;
        });
  }
  return state;
}

class LaneAttend : public ::testing::TestWithParam<int> {};

// The integers are the CPU's. A part rounds its weights against its own running maximum, so that a weight between two
// integers may fall to the other: 1/255 of the tile's largest. (The CPU's own targets differ as much where they do not
// fuse the products of halves: tests/kernels/attend_decode_test.cpp.)
TEST_P(LaneAttend, CodedPagesAreTheReferences) {
  for (const CaseSpec& spec : decode_cases(GetParam())) {
    if (spec.k.halves() || spec.v.halves()) continue;
    const AttendCase problem(spec);
    HostState expected(problem.n_rows(), spec.head_dim, AttendCase::kSpaces);
    reference::attend_decode(problem.shape, problem.queries(), problem.pages, expected.state());
    for (const int tiles_per_part : {2, 100}) {
      const Apart far = apart(attend_by_warps(problem, true, tiles_per_part), expected);
      EXPECT_LE(far.output, 2e-3) << spec.name() << " tiles " << tiles_per_part;
      EXPECT_LE(far.log_sum, 1e-5) << spec.name() << " tiles " << tiles_per_part;
    }
  }
}

TEST_P(LaneAttend, PagesOfAnyFormatAreTheReferences) {
  for (const CaseSpec& spec : decode_cases(GetParam())) {
    if (!spec.k.halves() && !spec.v.halves() && spec.seed % 4 != 0) continue;
    const AttendCase problem(spec);
    HostState expected(problem.n_rows(), spec.head_dim, AttendCase::kSpaces);
    reference::attend(problem.shape, problem.queries(), problem.pages, expected.state());
    const Apart far = apart(attend_by_warps(problem, false, 3), expected);
    EXPECT_LE(far.output, 1e-5) << spec.name();
    EXPECT_LE(far.log_sum, 1e-5) << spec.name();
  }
}

INSTANTIATE_TEST_SUITE_P(HeadDims, LaneAttend, ::testing::Values(64, 80, 96, 128, 256),
                         [](const auto& info) { return "d" + std::to_string(info.param); });

// One part alone rounds as the reference does, in the order it does.
TEST(LaneAttendExact, OnePartOfOneTileIsTheReferenceToTheBit) {
  for (const int bits : {4, 3, 2, -4, -3, -2}) {  // negative: on the trellis grid
    CaseSpec spec;
    spec.head_dim = 128;
    spec.k = spec.v = one_band(std::abs(bits), 128);
    spec.k.grid = spec.v.grid = bits < 0 ? Grid::kTrellis : Grid::kLloydMax;
    spec.page_tokens = {64};
    spec.n_group = 8;
    const AttendCase problem(spec);
    HostState expected(8, 128, AttendCase::kSpaces);
    reference::attend_decode(problem.shape, problem.queries(), problem.pages, expected.state());
    const HostState got = attend_by_warps(problem, true, 1);
    for (int row = 0; row < 8; ++row) EXPECT_NEAR(got.m[row], expected.m[row], 1e-5 * std::fabs(expected.m[row]));
    EXPECT_LE(apart(got, expected).output, 1e-6) << bits;
  }
}

TEST(LaneAttendEdge, ARowThatIsNoNumberPoisonsItselfAlone) {
  for (const bool coded : {true, false}) {
    CaseSpec spec;
    spec.k = spec.v = one_band(3, 64);
    spec.page_tokens = {64, 32, 100};
    AttendCase problem(spec);
    const AttendCase clean(spec);
    problem.q[static_cast<size_t>((1 * problem.n_rows() + 2) * 64 + 7)] = NAN;
    problem.q[static_cast<size_t>((2 * problem.n_rows() + 0) * 64 + 9)] = INFINITY;
    const HostState got = attend_by_warps(problem, coded, 2);
    const HostState expected = attend_by_warps(clean, coded, 2);
    for (int row = 0; row < 4; ++row) {
      const bool bad = row == 2 || row == 0;
      EXPECT_EQ(bad, std::isnan(got.m[row])) << row;
      EXPECT_EQ(bad, std::isnan(got.l[row])) << row;
      for (int j = 0; j < 64; ++j) {
        const auto at = static_cast<size_t>(row * 64 + j);
        EXPECT_EQ(bad, std::isnan(got.acc[at])) << row;
        if (!bad) {
          EXPECT_EQ(got.acc[at], expected.acc[at]);
        }
      }
    }
  }
}

TEST(LaneAttendEdge, NothingVisibleLeavesAnEmptyState) {
  for (const bool coded : {true, false}) {
    CaseSpec spec;
    spec.k = spec.v = one_band(4, 64);
    spec.behind = 500;
    const HostState got = attend_by_warps(AttendCase(spec), coded, 2);
    for (const float m : got.m) EXPECT_EQ(m, minus_infinity());
    for (const float l : got.l) EXPECT_EQ(l, 0);
    for (const float x : got.acc) EXPECT_EQ(x, 0);
  }
}

}  // namespace
}  // namespace recalld::kernels::cuda
