// How a block of threads ends: its partial results go to memory, and the last block of a problem and row block merges
// them all.
#pragma once

#include "kernels/cuda/lane/attend_args.cuh"
#include "kernels/cuda/lane/merge.cuh"

namespace recalld::kernels::cuda {

// Rows [first_row, end_row) of a problem from the parts of all its splits. By all threads of a block.
__device__ inline void merge_parts(const AttendArgs& args, int problem, int first_row, int end_row) {
  const int head_dim = args.shape.head_dim, n_rows = args.n_rows();
  const AttendProblem of = args.problems[problem];
  const int n_numbers = (end_row - first_row) * head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < n_numbers; i += static_cast<int>(blockDim.x)) {
    const int row = first_row + i / head_dim, j = i % head_dim;
    const auto at = [&](int split) { return static_cast<size_t>(of.first_split + split) * n_rows + row; };
    const auto m = [&](int split) { return __ldcg(args.part_m + at(split)); };
    const MergedSums sums = merge_sums(of.n_splits, m, [&](int split) { return __ldcg(args.part_l + at(split)); });
    const size_t to = static_cast<size_t>(problem) * n_rows + row;
    if (j == 0) {
      args.m[to] = sums.m;
      args.l[to] = sums.l;
    }
    for (int space = 0; space < args.n_spaces; ++space) {
      const float number = merge_number(of.n_splits, sums.m, m, [&](int split) {
        return args.splits[of.first_split + split].space == space ? __ldcg(args.part_acc + at(split) * head_dim + j)
                                                                  : 0.0F;
      });
      args.acc[((static_cast<size_t>(problem) * args.n_spaces + space) * n_rows + row) * head_dim + j] = number;
    }
  }
}

// After this block has written its part: merges when it is the last of its problem's. Leaves the counter at zero.
__device__ inline void finish_part(const AttendArgs& args, int problem, int row_block, int n_row_blocks, int first_row,
                                   int end_row) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  uint32_t* done = args.done + problem * n_row_blocks + row_block;
  if (threadIdx.x == 0) last = atomicAdd(done, 1u) + 1 == static_cast<uint32_t>(args.problems[problem].n_splits);
  __syncthreads();
  if (!last) return;
  __threadfence();
  merge_parts(args, problem, first_row, end_row);
  if (threadIdx.x == 0) *done = 0;
}

}  // namespace recalld::kernels::cuda
