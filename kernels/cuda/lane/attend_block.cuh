// Attention of many rows of queries (prefill) by a block of four warps: 16 rows for each warp, tiles of 64 keys
// expanded to halves once for all four and multiplied by the tensor cores with f32 sums.
//
// Lane l = 4 g + i of a warp holds rows g and g + 8 and, of each eight columns of a product (keys or dims), 2 i and
// 2 i + 1. head_dim is at most 32 kChunks.
#pragma once

#include "kernels/cuda/lane/attend_args.cuh"
#include "kernels/cuda/lane/expand.cuh"

namespace recalld::kernels::cuda {

inline constexpr int kBlockWarps = 4;
inline constexpr int kBlockRows = 16 * kBlockWarps;

template <int kChunks>
struct BlockMemory {
  ExpandedTile<kChunks> tile;
  alignas(16) uint16_t q[kBlockRows][ExpandedTile<kChunks>::kKeyStride];
};

RECALLD_LANE uint32_t pack_halves(float low, float high) {
  return half_bits(low) | static_cast<uint32_t>(half_bits(high)) << 16;
}

// What a lane keeps of its two rows.
template <int kChunks>
struct BlockLane {
  float m[2], l[2];  // l: of this lane's keys alone
  float acc[4 * kChunks][4];
};

// Queries of a variant as halves, for the warp's rows; rows that are not numbers count as zeros. False for lanes of
// rows that are not.
template <int kChunks, class Warp>
RECALLD_LANE void load_queries(Warp& warp, const AttendArgs& args, int problem, int variant, int first_row,
                               bool (&finite)[2], BlockMemory<kChunks>& memory) {
  const int head_dim = args.shape.head_dim;
  warp.sync();
  RECALLD_NO_UNROLL
  for (int i = 0; i < 16; ++i) {
    const int row = first_row + i;
    const bool exists = row < args.n_rows();
    const float* q = args.query(problem, variant, exists ? row : 0);
    bool numbers = true;
    for (int j = warp.lane(); j < head_dim && exists; j += 32) numbers = numbers && is_number(q[j]);
    const bool use = !warp.any(!numbers) && exists;
    for (int j = warp.lane(); j < head_dim; j += 32)
      memory.q[16 * warp.warp() + i][j] = use ? half_bits(safe_number(q[j])) : 0;
    const bool spoilt = exists && !use && i % 8 == warp.lane() / 4;
    finite[0] = finite[0] && !(spoilt && i < 8);
    finite[1] = finite[1] && !(spoilt && i >= 8);
  }
  warp.sync();
}

// Scores of the warp's rows with the tile's keys: [eight keys][row of the lane * 2 + key of the lane].
template <int kChunks, class Warp>
RECALLD_LANE void score_block(Warp& warp, int head_dim, const BlockMemory<kChunks>& memory, float (&score)[8][4]) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  RECALLD_UNROLL
  for (int n = 0; n < 8; ++n)
    for (int i = 0; i < 4; ++i) score[n][i] = 0;
  const uint16_t* q = memory.q[16 * warp.warp() + group];
  constexpr int kStride = ExpandedTile<kChunks>::kKeyStride;
  RECALLD_NO_UNROLL
  for (int dim = 0; dim < head_dim; dim += 16) {
    const int at = dim + 2 * part;
    const uint32_t a[4] = {load<uint32_t>(q + at), load<uint32_t>(q + 8 * kStride + at), load<uint32_t>(q + at + 8),
                           load<uint32_t>(q + 8 * kStride + at + 8)};
    RECALLD_UNROLL
    for (int n = 0; n < 8; ++n) {
      const uint16_t* k = memory.tile.k[8 * n + group];
      const uint32_t b[2] = {load<uint32_t>(k + at), load<uint32_t>(k + at + 8)};
      warp.multiply_add_halves(score[n], a, b);
    }
  }
}

// Scores to weights, raising m; acc is rescaled.
template <int kChunks, class Warp>
RECALLD_LANE void softmax_block(Warp& warp, const AttendArgs& args, const int (&position)[2], int key, int n_tokens,
                                float (&score)[8][4], BlockLane<kChunks>& state) {
  const int part = warp.lane() % 4;
  RECALLD_UNROLL
  for (int row = 0; row < 2; ++row) {
    float top = minus_infinity();
    RECALLD_UNROLL
    for (int n = 0; n < 8; ++n) {
      RECALLD_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int token = 8 * n + 2 * part + i;
        float& s = score[n][2 * row + i];
        s = token < n_tokens && is_visible(key + token, position[row], args.shape.window) ? s * args.shape.scale
                                                                                          : minus_infinity();
        top = larger(top, s);
      }
    }
    top = larger(top, warp.shuffle_xor(top, 1));
    top = larger(top, warp.shuffle_xor(top, 2));
    const float m = larger(state.m[row], top);
    const float base = m == minus_infinity() ? 0.0F : m;
    const float rescale = weight_exp(state.m[row] - base);
    state.m[row] = m;
    float sum = 0;
    RECALLD_UNROLL
    for (int n = 0; n < 8; ++n) {
      RECALLD_UNROLL
      for (int i = 0; i < 2; ++i) {
        float& s = score[n][2 * row + i];
        s = weight_exp(s - base);
        sum += s;
      }
    }
    state.l[row] = state.l[row] * rescale + sum;
    RECALLD_UNROLL
    for (int n = 0; n < 4 * kChunks; ++n) {
      state.acc[n][2 * row] *= rescale;
      state.acc[n][2 * row + 1] *= rescale;
    }
  }
}

template <int kChunks, class Warp>
RECALLD_LANE void add_block(Warp& warp, int head_dim, const BlockMemory<kChunks>& memory, const float (&p)[8][4],
                            BlockLane<kChunks>& state) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  RECALLD_UNROLL
  for (int step = 0; step < 4; ++step) {
    const float(&first)[4] = p[2 * step];
    const float(&second)[4] = p[2 * step + 1];
    const uint32_t a[4] = {pack_halves(first[0], first[1]), pack_halves(first[2], first[3]),
                           pack_halves(second[0], second[1]), pack_halves(second[2], second[3])};
    RECALLD_UNROLL
    for (int n = 0; n < 4 * kChunks; ++n) {
      if (8 * n >= head_dim) continue;
      const uint16_t* v = memory.tile.v[8 * n + group] + 16 * step + 2 * part;
      const uint32_t b[2] = {load<uint32_t>(v), load<uint32_t>(v + 8)};
      warp.multiply_add_halves(state.acc[n], a, b);
    }
  }
}

// Attends rows first_row .. first_row + 63 of a problem to n_tiles tiles and hands the numbers of existing rows to
// store_sums(row, m, l) and store(row, dim, acc). All warps of the block call it.
template <int kChunks, class Warp, class StoreSums, class Store>
RECALLD_LANE void attend_block_rows(Warp& warp, const AttendArgs& args, int problem, int first_row, int first_tile,
                                    int n_tiles, BlockMemory<kChunks>& memory, const StoreSums& store_sums,
                                    const Store& store) {
  const int group = warp.lane() / 4, part = warp.lane() % 4, head_dim = args.shape.head_dim;
  const int warp_row = first_row + 16 * warp.warp();
  BlockLane<kChunks> state;
  int position[2];
  bool finite[2] = {true, true};
  RECALLD_UNROLL
  for (int row = 0; row < 2; ++row) {
    state.m[row] = minus_infinity();
    state.l[row] = 0;
    position[row] = args.position(problem, warp_row + group + 8 * row);
  }
  RECALLD_UNROLL
  for (int n = 0; n < 4 * kChunks; ++n)
    for (int i = 0; i < 4; ++i) state.acc[n][i] = 0;
  // The tile's last row may be one that does not exist; the block sees up to the last that does.
  const int last_row = first_row + kBlockRows < args.n_rows() ? first_row + kBlockRows - 1 : args.n_rows() - 1;
  const int nearest = args.position(problem, last_row), farthest = args.position(problem, first_row);

  int variant = -1;
  RECALLD_NO_UNROLL
  for (int index = first_tile; index < first_tile + n_tiles; ++index) {
    const AttendTile at = args.tiles[index];
    const PageSlice& page = args.slices[at.slice];
    if (page.variant != variant) {
      variant = page.variant;
      load_queries(warp, args, problem, variant, warp_row, finite, memory);
    }
    const int left = page.n_tokens - at.token, n = left < kTile ? left : kTile;
    const int key = page.view_start + at.token;
    // All warps agree that nothing of the tile is seen.
    if (key > nearest) continue;
    if (args.shape.window > 0 && key + n - 1 <= static_cast<int64_t>(farthest) - args.shape.window) continue;
    warp.sync_block();
    expand_tile(args.levels, page, head_dim, at.token, n, 32 * warp.warp() + warp.lane(), 32 * kBlockWarps,
                memory.tile);
    warp.sync_block();
    float score[8][4];
    score_block(warp, head_dim, memory, score);
    softmax_block(warp, args, position, key, n, score, state);
    add_block(warp, head_dim, memory, score, state);
  }
  RECALLD_UNROLL
  for (int i = 0; i < 2; ++i) {
    const int row = warp_row + group + 8 * i;
    float l = state.l[i];
    l += warp.shuffle_xor(l, 1);
    l += warp.shuffle_xor(l, 2);
    if (row >= args.n_rows()) continue;
    const float nan = not_a_number();
    if (part == 0) store_sums(row, finite[i] ? state.m[i] : nan, finite[i] ? l : nan);
    RECALLD_UNROLL
    for (int n = 0; n < 4 * kChunks; ++n) RECALLD_UNROLL
    for (int j = 0; j < 2; ++j) {
      const int dim = 8 * n + 2 * part + j;
      if (dim < head_dim) store(row, dim, finite[i] ? state.acc[n][2 * i + j] : nan);
    }
  }
}

}  // namespace recalld::kernels::cuda
