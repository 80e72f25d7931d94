#include "kernels/cuda/lane/attend_block.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "tests/cuda/cases.h"
#include "tests/kernels/lanes/emulated_warp.h"

namespace recalld::kernels::cuda {
namespace {

// Pages of one space.
HostState attend_by_blocks(const AttendCase& problem) {
  AttendArgs args;
  args.shape = problem.shape;
  args.n_tokens = problem.spec.n_tokens;
  args.n_variants = AttendCase::kVariants;
  args.slices = problem.pages.data();
  args.q = problem.q.data();
  args.positions = problem.positions.data();
  args.levels = level_tables();
  std::vector<AttendTile> tiles;
  for (size_t i = 0; i < problem.pages.size(); ++i)
    for (int token = 0; token < problem.pages[i].n_tokens; token += kTile)
      tiles.push_back({static_cast<int32_t>(i), token});
  args.tiles = tiles.data();

  HostState state(problem.n_rows(), problem.spec.head_dim, 1);
  const auto run = [&](auto memory) {
    std::memset(static_cast<void*>(memory.get()), 0x7f, sizeof *memory);
    for (int row = 0; row < problem.n_rows(); row += kBlockRows)
      run_warps(kBlockWarps, [&](EmulatedWarp& warp) {
        attend_block_rows(
            warp, args, 0, row, 0, static_cast<int>(tiles.size()), *memory,
            [&](int r, float m, float l) {
              state.m[static_cast<size_t>(r)] = m;
              state.l[static_cast<size_t>(r)] = l;
            },
            [&](int r, int dim, float number) {
              state.acc[static_cast<size_t>(r * problem.spec.head_dim + dim)] = number;
            });
      });
  };
  if (problem.spec.head_dim <= 64)
    run(std::make_unique<BlockMemory<2>>());
  else if (problem.spec.head_dim <= 128)
    run(std::make_unique<BlockMemory<4>>());
  else
    run(std::make_unique<BlockMemory<8>>());
  return state;
}

// Halves of q, k and v: three relative roundings of 2^-12 on average. A score of deviation 1.5 |k| / sqrt(d) ~ 1.5
// moves by a thousandth of itself at most, the output by about as much.
TEST(LaneAttendBlock, IsTheReferenceUpToHalves) {
  int turn = 0;
  for (const int dim : {64, 80, 96, 128, 256}) {
    std::vector<SideFormat> formats = coded_formats(dim);
    formats.push_back(one_band(16));
    for (size_t i = 0; i < formats.size(); i += 2) {
      CaseSpec spec;
      spec.head_dim = dim;
      spec.k = formats[(i + static_cast<size_t>(turn)) % formats.size()];
      spec.v = formats[(i + 2 * static_cast<size_t>(turn) + 1) % formats.size()];
      spec.n_group = 1 + turn % 4;
      spec.n_tokens = 5 + turn * 3 % 30;
      spec.window = turn % 3 == 0 ? 90 : 0;
      spec.page_tokens = {64, 1 + turn * 11 % 100, 40};
      spec.seed = static_cast<unsigned>(++turn);
      AttendCase problem(spec);
      for (PageSlice& page : problem.pages) page.space = 0;
      HostState expected(problem.n_rows(), dim, 1);
      reference::attend(problem.shape, problem.queries(), problem.pages, expected.state());
      const Apart far = apart(attend_by_blocks(problem), expected);
      EXPECT_LE(far.output, 4e-3) << spec.name();
      EXPECT_LE(far.log_sum, 4e-3) << spec.name();
    }
  }
}

TEST(LaneAttendBlock, ARowThatIsNoNumberPoisonsItselfAlone) {
  CaseSpec spec;
  spec.k = spec.v = one_band(4, 64);
  spec.n_tokens = 20;
  spec.page_tokens = {64, 64, 64};
  AttendCase problem(spec);
  for (PageSlice& page : problem.pages) page.space = 0;
  problem.q[static_cast<size_t>((1 * problem.n_rows() + 33) * 64 + 7)] = NAN;
  const HostState got = attend_by_blocks(problem);
  for (int row = 0; row < problem.n_rows(); ++row) {
    EXPECT_EQ(row == 33, std::isnan(got.m[static_cast<size_t>(row)])) << row;
    for (int j = 0; j < 64; ++j) EXPECT_EQ(row == 33, std::isnan(got.acc[static_cast<size_t>(row * 64 + j)])) << row;
  }
}

}  // namespace
}  // namespace recalld::kernels::cuda
