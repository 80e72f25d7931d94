// What the attention kernels take: one struct of plain numbers and device pointers, passed by value.
#pragma once

#include <cstdint>

#include "kernels/attend.h"
#include "kernels/cuda/lane/unpack.cuh"
#include "kernels/visible.h"

namespace recalld::kernels::cuda {

// Rows of queries that one warp works on: the columns of a product. More rows take more passes over the codes.
inline constexpr int kRows = 8;
// Keys of a tile, as on the CPU (kernels/visible.h).
inline constexpr int kTile = kTileTokens;

// One tile: tokens token .. token + 63, where the page has as many, of slices[slice].
struct AttendTile {
  int32_t slice = 0;
  int32_t token = 0;
};

// The tiles of one block of threads: all of one problem (one sequence and KV head) and one space.
struct AttendSplit {
  int32_t problem = 0;
  int32_t first_tile = 0;
  int32_t n_tiles = 0;
  int32_t space = 0;
};

// Splits of a problem follow each other.
struct AttendProblem {
  int32_t first_split = 0;
  int32_t n_splits = 0;
};

struct AttendArgs {
  AttendShape shape;
  int32_t n_tokens = 0;    // query tokens
  int32_t n_variants = 0;  // of queries
  int32_t n_spaces = 1;
  int32_t n_splits = 0;  // all of them
  const PageSlice* slices = nullptr;
  const AttendTile* tiles = nullptr;
  const AttendSplit* splits = nullptr;
  const AttendProblem* problems = nullptr;
  const float* q = nullptr;            // [n_problems][n_variants][n_rows][head_dim]
  const int32_t* positions = nullptr;  // [n_problems][n_tokens]
  // Of each split, row and row block: [n_splits][n_rows]([head_dim]).
  float* part_m = nullptr;
  float* part_l = nullptr;
  float* part_acc = nullptr;
  // [n_problems][row blocks], zero before and after: how many splits are done.
  uint32_t* done = nullptr;
  // The result: [n_problems][n_rows] and [n_problems][n_spaces][n_rows][head_dim].
  float* m = nullptr;
  float* l = nullptr;
  float* acc = nullptr;
  LevelTables levels;

  RECALLD_LANE int n_rows() const { return n_tokens * shape.n_group; }
  RECALLD_LANE const float* query(int problem, int variant, int row) const {
    return q + ((static_cast<size_t>(problem) * n_variants + variant) * n_rows() + row) * shape.head_dim;
  }
  // Rows that do not exist see nothing.
  RECALLD_LANE int position(int problem, int row) const {
    return row < n_rows() ? positions[problem * n_tokens + row / shape.n_group] : INT32_MIN;
  }
};

RECALLD_LANE bool is_visible(int key, int position, int window) {
  return key <= position && (window == 0 || key > static_cast<int64_t>(position) - window);
}

}  // namespace recalld::kernels::cuda
