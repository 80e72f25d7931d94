// Decode attention by one warp over pages of any format, number by number in f32: for those with a 16-bit side (sinks
// and the recent window). A lane scores two tokens of the tile, then adds every 32nd dim of the values.
#pragma once

#include "kernels/cuda/lane/attend_args.cuh"
#include "kernels/cuda/lane/page_number.cuh"

namespace recalld::kernels::cuda {

template <int kChunks>
struct PlainMemory {
  alignas(16) float numbers[kRows * 32 * kChunks];  // acc when the warp is done: [kRows][head_dim]
  float p[kRows][kTile];
  float m[kRows];
  float l[kRows];

  RECALLD_LANE float* acc() { return numbers; }
};

template <class Warp>
RECALLD_LANE float sum_lanes(Warp& warp, float x) {
  for (int mask = 16; mask > 0; mask /= 2) x += warp.shuffle_xor(x, mask);
  return x;
}

// As attend_coded.
template <int kChunks, class Warp>
RECALLD_LANE void attend_plain(Warp& warp, const AttendArgs& args, int problem, int first_row, int first_tile,
                               int end_tile, PlainMemory<kChunks>& memory) {
  const int lane = warp.lane(), head_dim = args.shape.head_dim;
  float m[kRows], l[kRows], acc[kRows][kChunks];
  bool finite[kRows];
  const float* q[kRows];
  RECALLD_UNROLL
  for (int row = 0; row < kRows; ++row) {
    m[row] = minus_infinity();
    l[row] = 0;
    finite[row] = true;
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) acc[row][chunk] = 0;
  }
  int last_variant = -1;
  RECALLD_NO_UNROLL
  for (int index = first_tile; index < end_tile; ++index) {
    const AttendTile tile = args.tiles[index];
    const PageSlice& page = args.slices[tile.slice];
    const int n = page.n_tokens - tile.token < kTile ? page.n_tokens - tile.token : kTile;
    RECALLD_UNROLL
    for (int row = 0; row < kRows; ++row) {
      const int existing = first_row + row < args.n_rows() ? first_row + row : first_row;
      q[row] = args.query(problem, page.variant, existing);
      if (page.variant == last_variant) continue;
      bool numbers = true;
      for (int j = lane; j < head_dim; j += 32) numbers = numbers && is_number(q[row][j]);
      finite[row] = finite[row] && !warp.any(!numbers);
    }
    last_variant = page.variant;

    float dot[2][kRows] = {};
    for (int j = 0; j < head_dim; ++j) {
      float k[2];
      RECALLD_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int token = lane + 32 * i;
        k[i] = token < n ? key_number(args.levels, page, head_dim, tile.token + token, j) : 0.0F;
      }
      RECALLD_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const float x = q[row][j];
        dot[0][row] += x * k[0];
        dot[1][row] += x * k[1];
      }
    }
    RECALLD_UNROLL
    for (int row = 0; row < kRows; ++row) {
      const int position = args.position(problem, first_row + row);
      float top = minus_infinity();
      RECALLD_UNROLL
      for (int i = 0; i < 2; ++i) {
        const int token = lane + 32 * i;
        const bool seen = token < n && is_visible(page.view_start + tile.token + token, position, args.shape.window);
        dot[i][row] = seen && finite[row] ? dot[i][row] * args.shape.scale : minus_infinity();
        top = larger(top, dot[i][row]);
      }
      for (int mask = 16; mask > 0; mask /= 2) top = larger(top, warp.shuffle_xor(top, mask));
      const float raised = larger(m[row], top);
      const float base = raised == minus_infinity() ? 0.0F : raised;
      const float rescale = weight_exp(m[row] - base);
      m[row] = raised;
      l[row] *= rescale;
      RECALLD_UNROLL
      for (int chunk = 0; chunk < kChunks; ++chunk) acc[row][chunk] *= rescale;
      RECALLD_UNROLL
      for (int i = 0; i < 2; ++i) {
        const float p = weight_exp(dot[i][row] - base);
        memory.p[row][lane + 32 * i] = p;
        l[row] += p;
      }
    }
    warp.sync();
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int j = 32 * chunk + lane;
      for (int token = 0; token < n && j < head_dim; ++token) {
        const float v = value_number(args.levels, page, head_dim, tile.token + token, j);
        RECALLD_UNROLL
        for (int row = 0; row < kRows; ++row) acc[row][chunk] += memory.p[row][token] * v;
      }
    }
    warp.sync();
  }
  RECALLD_UNROLL
  for (int row = 0; row < kRows; ++row) {
    const float sum = sum_lanes(warp, l[row]);
    if (lane == 0) {
      memory.m[row] = finite[row] ? m[row] : not_a_number();
      memory.l[row] = finite[row] ? sum : not_a_number();
    }
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int j = 32 * chunk + lane;
      if (j < head_dim) memory.numbers[row * head_dim + j] = finite[row] ? acc[row][chunk] : not_a_number();
    }
  }
  warp.sync();
}

}  // namespace recalld::kernels::cuda
