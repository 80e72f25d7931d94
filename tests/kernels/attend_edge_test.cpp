#include <gtest/gtest.h>

#include <hwy/highway.h>
#include <cmath>
#include <cstring>
#include <limits>

#include "tests/kernels/attend_case.h"

namespace recalld::kernels {
namespace {

using AttendFunction = void (*)(const AttendShape&, const QueryBlock&, std::span<const PageSlice>, const AttendState&,
                                AttendScratch&);
constexpr AttendFunction kWays[] = {attend_decode, attend_block};

TEST(AttendEdge, TargetsAreToldApart) {
  for (const int64_t target : runnable_targets()) {
    const UseTarget use(target);
    EXPECT_EQ(hwy::SupportedTargets() & HWY_TARGETS, target);
  }
  EXPECT_TRUE((hwy::SupportedTargets() & HWY_SCALAR) != 0);
}

CaseSpec edge_spec(int bits) {
  CaseSpec spec;
  spec.k = spec.v = one_band(bits);
  spec.page_tokens = {100, 64, 17, 256};
  spec.n_queries = 6;
  spec.behind = 30;
  return spec;
}

TEST(AttendEdge, RangesOfPagesMergeToTheWhole) {
  for (const int bits : {16, 4, 3, 2}) {
    for (const AttendFunction attend_way : kWays) {
      const AttendCase problem(edge_spec(bits));
      AttendScratch scratch;
      StateBuffer whole = problem.new_state(), first = problem.new_state(), second = problem.new_state();
      const std::span<const PageSlice> pages(problem.pages);
      attend_way(problem.shape, problem.queries(), pages, whole.state(), scratch);
      attend_way(problem.shape, problem.queries(), pages.first(2), first.state(), scratch);
      attend_way(problem.shape, problem.queries(), pages.subspan(2), second.state(), scratch);
      merge_state(first.state(), second.state(), problem.n_rows(), problem.spec.head_dim);
      // Decode rounds weights to the largest so far of a tile: the tile's own rounding does not move with m.
      EXPECT_LE(distance(first, whole).output, 2e-3) << bits;
      EXPECT_LE(distance(first, whole).log_sum, 1e-5) << bits;

      StateBuffer nothing = problem.new_state(), copy = whole;
      merge_state(copy.state(), nothing.state(), problem.n_rows(), problem.spec.head_dim);
      EXPECT_EQ(copy.acc, whole.acc);
      merge_state(nothing.state(), whole.state(), problem.n_rows(), problem.spec.head_dim);
      EXPECT_EQ(nothing.acc, whole.acc);
      EXPECT_EQ(nothing.l, whole.l);
      EXPECT_EQ(nothing.m, whole.m);
    }
  }
}

// Appending pages to a state equals attending to all at once, bit for bit.
TEST(AttendEdge, StateCarriesOn) {
  for (const AttendFunction attend_way : kWays) {
    const AttendCase problem(edge_spec(4));
    AttendScratch scratch;
    StateBuffer whole = problem.new_state(), steps = problem.new_state();
    attend_way(problem.shape, problem.queries(), problem.pages, whole.state(), scratch);
    for (const PageSlice& page : problem.pages)
      attend_way(problem.shape, problem.queries(), {&page, 1}, steps.state(), scratch);
    EXPECT_EQ(whole.acc, steps.acc);
    EXPECT_EQ(whole.l, steps.l);
  }
}

TEST(AttendEdge, EmptyViewLeavesTheStateAlone) {
  for (const AttendFunction attend_way : kWays) {
    const AttendCase problem(edge_spec(4));
    AttendScratch scratch;
    StateBuffer state = problem.new_state();
    attend_way(problem.shape, problem.queries(), {}, state.state(), scratch);
    // Pages wholly in the future of every query.
    std::vector<PageSlice> future = problem.pages;
    for (PageSlice& page : future) page.view_start += 10000;
    attend_way(problem.shape, problem.queries(), future, state.state(), scratch);
    for (int row = 0; row < problem.n_rows(); ++row) {
      EXPECT_EQ(state.m[row], -std::numeric_limits<float>::infinity());
      EXPECT_EQ(state.l[row], 0.0F);
    }
    for (const float x : state.acc) EXPECT_EQ(x, 0.0F);
  }
}

TEST(AttendEdge, BrokenQueryStaysInItsRow) {
  for (const int64_t target : runnable_targets()) {
    const UseTarget use(target);
    for (const int bits : {16, 4, 2}) {
      for (const float poison :
           {std::nanf(""), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
        for (const AttendFunction attend_way : kWays) {
          AttendCase problem(edge_spec(bits));
          AttendScratch scratch;
          StateBuffer clean = problem.new_state(), state = problem.new_state();
          attend_way(problem.shape, problem.queries(), problem.pages, clean.state(), scratch);
          constexpr int kBroken = 7;
          problem.q[(static_cast<size_t>(problem.n_rows()) + kBroken) * problem.spec.head_dim + 33] = poison;
          attend_way(problem.shape, problem.queries(), problem.pages, state.state(), scratch);
          for (int row = 0; row < problem.n_rows(); ++row) {
            if (row == kBroken) {
              for (const float x : state.output(row)) ASSERT_TRUE(std::isnan(x));
              ASSERT_TRUE(std::isnan(state.l[row]));
            } else {
              ASSERT_EQ(state.l[row], clean.l[row]);
              ASSERT_EQ(state.output(row), clean.output(row));
            }
          }
        }
      }
    }
  }
}

// Extreme but finite queries, and all-zero ones, give finite results.
TEST(AttendEdge, TinyAndZeroQueriesAverageTheValues) {
  for (const float amplitude : {0.0F, 1e-38F, 1e-20F}) {
    for (const AttendFunction attend_way : kWays) {
      AttendCase problem(edge_spec(4));
      for (float& x : problem.q) x *= amplitude;
      AttendScratch scratch;
      StateBuffer state = problem.new_state();
      attend_way(problem.shape, problem.queries(), problem.pages, state.state(), scratch);
      const int last = problem.n_rows() - 1;
      EXPECT_FLOAT_EQ(state.l[last], static_cast<float>(problem.positions.back() + 1));
      for (const float x : state.output(last)) EXPECT_TRUE(std::isfinite(x));
    }
  }
}

// Tokens past the page's count are never read as keys or values, whatever the padding holds.
TEST(AttendEdge, PaddingIsNotSeen) {
  for (const AttendFunction attend_way : kWays) {
    CaseSpec spec = edge_spec(16);
    spec.page_tokens = {17};
    spec.n_queries = 5;
    spec.behind = 0;
    AttendCase problem(spec);
    AttendScratch scratch;
    StateBuffer clean = problem.new_state(), dirty = problem.new_state();
    attend_way(problem.shape, problem.queries(), problem.pages, clean.state(), scratch);
    auto* k = reinterpret_cast<uint16_t*>(const_cast<uint8_t*>(problem.pages[0].k));
    auto* v = reinterpret_cast<uint16_t*>(const_cast<uint8_t*>(problem.pages[0].v));
    for (int t = 17; t < 32; ++t)
      for (int j = 0; j < spec.head_dim; ++j)
        k[k_half_index(spec.head_dim, t, j)] = v[v_half_index(spec.head_dim, t, j)] = 0x7e00;
    attend_way(problem.shape, problem.queries(), problem.pages, dirty.state(), scratch);
    EXPECT_EQ(clean.acc, dirty.acc);
    EXPECT_EQ(clean.l, dirty.l);
  }
}

TEST(AttendEdge, ScratchGrowsAndIsReused) {
  AttendScratch scratch;
  std::byte* small = scratch.reserve(100);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small) % 64, 0u);
  EXPECT_EQ(scratch.reserve(50), small);
  std::memset(scratch.reserve(100000), 1, 100000);
}

}  // namespace
}  // namespace recalld::kernels
