// Block attention: many rows, so that the arithmetic is the cost. Each tile of a page is expanded once to f32 and
// multiplied with panels of rows; between the two products the panel's scores stay in the first-level cache.
#include <cstring>

#include "kernels/attend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attend_block.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET != HWY_SCALAR
#include "kernels/cpu/expand_tile-inl.h"
#include "kernels/cpu/multiply-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

// No vectors to fill: the plain loops will do.
void attend_block(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                  const AttendState& state, AttendScratch&) {
  reference::attend(shape, queries, pages, state);
}

#else

// Scratch of one call.
struct BlockScratch {
  float* k;        // [head_dim][kTileTokens]
  float* v;        // [kTileTokens][head_dim]
  float* mean;     // [head_dim]
  uint8_t* bad;    // [n_rows]
  uint8_t* known;  // [n_variants]

  BlockScratch(const Rows& rows, std::span<const PageSlice> pages, AttendScratch& scratch) {
    int32_t n_variants = 0;
    for (const PageSlice& page : pages) n_variants = std::max(n_variants, page.variant + 1);
    const size_t head_dim = static_cast<size_t>(rows.shape.head_dim);
    const size_t tile = head_dim * kTileTokens;
    k = reinterpret_cast<float*>(
        scratch.reserve((2 * tile + head_dim) * sizeof(float) + rows.n_rows + static_cast<size_t>(n_variants)));
    v = k + tile;
    mean = v + tile;
    bad = reinterpret_cast<uint8_t*>(mean + head_dim);
    known = bad + rows.n_rows;
    std::memset(bad, 0, rows.n_rows + static_cast<size_t>(n_variants));
  }
};

void begin_page(const Rows& rows, const PageSlice& page, BlockScratch& scratch) {
  const int head_dim = rows.shape.head_dim;
  if (scratch.known[page.variant] == 0) {
    scratch.known[page.variant] = 1;
    for (size_t row = 0; row < rows.n_rows; ++row)
      if (!all_finite(rows.q(page.variant, row), head_dim)) scratch.bad[row] = 1;
  }
  for (int j = 0; j < head_dim; j += kLanes)
    hn::Store(page.k_mean == nullptr ? hn::Zero(F32()) : load_halves(page.k_mean + j), F32(), scratch.mean + j);
}

// Up to kPanelRows rows from `row` on against the expanded tile of n tokens.
void attend_panel(const Rows& rows, const PageSlice& page, const BlockScratch& scratch, int token, int n, size_t row,
                  int n_rows) {
  const size_t head_dim = static_cast<size_t>(rows.shape.head_dim);
  alignas(64) float p[kPanelRows * kTileTokens];
  const Product scores{rows.q(page.variant, row), head_dim, scratch.k, kTileTokens, p, kTileTokens,
                       rows.shape.head_dim};
  multiply<false>(scores, n_rows, kTileTokens);
  const F32 d;
  const Vf scale = hn::Set(d, rows.shape.scale);
  for (int i = 0; i < n_rows * kTileTokens; i += kLanes) hn::Store(hn::Mul(hn::Load(d, p + i), scale), d, p + i);
  for (int r = 0; r < n_rows; ++r) {
    const auto [first, last] = visible_keys(page.view_start + token, n, rows.position(row + r), rows.shape.window);
    soften(rows, row + r, first, last, kTileTokens / 16, p + r * kTileTokens);
  }
  const Product values{p, kTileTokens, scratch.v, head_dim, rows.acc(page.space, row), head_dim, n};
  multiply<true>(values, n_rows, rows.shape.head_dim);
}

void attend_block(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                  const AttendState& state, AttendScratch& scratch_memory) {
  const Rows rows(shape, queries, state);
  BlockScratch scratch(rows, pages, scratch_memory);
  for (const PageSlice& page : pages) {
    begin_page(rows, page, scratch);
    for (int token = 0; token < page.n_tokens; token += kTileTokens) {
      const int n = std::min(kTileTokens, page.n_tokens - token);
      const auto [first, last] =
          seeing_tokens(queries.positions, queries.n_tokens, page.view_start + token, n, shape.window);
      if (first == last) continue;
      expand_keys(page, token, padded_tokens(n) / kTokenGroup, scratch.mean, shape.head_dim, scratch.k);
      expand_values(page, token, n, shape.head_dim, scratch.v);
      const size_t end = static_cast<size_t>(last) * shape.n_group;
      for (size_t row = static_cast<size_t>(first) * shape.n_group; row < end; row += kPanelRows)
        attend_panel(rows, page, scratch, token, n, row, static_cast<int>(std::min<size_t>(kPanelRows, end - row)));
    }
  }
  for (size_t row = 0; row < rows.n_rows; ++row)
    if (scratch.bad[row] != 0) poison_row(rows, row);
}

#endif
}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace recalld::kernels {

HWY_EXPORT(attend_block);

void attend_block(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                  const AttendState& state, AttendScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(attend_block)(shape, queries, pages, state, scratch);
}

}  // namespace recalld::kernels
#endif
