#include "kernels/cuda/attend_finish.cuh"
#include "kernels/cuda/attend_launch.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/lane/attend_block.cuh"
#include "kernels/cuda/warp.cuh"

namespace recalld::kernels::cuda {
namespace {

template <int kChunks>
__global__ void __launch_bounds__(32 * kBlockWarps)
    attend_rows(const __grid_constant__ AttendArgs args, const int32_t* order) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto& memory = *reinterpret_cast<BlockMemory<kChunks>*>(shared);
  const int index = order[blockIdx.x];
  const AttendSplit split = args.splits[index];
  const int first_row = static_cast<int>(blockIdx.y) * kBlockRows;
  const size_t part = static_cast<size_t>(index) * args.n_rows();
  DeviceWarp warp;
  attend_block_rows(
      warp, args, split.problem, first_row, split.first_tile, split.n_tiles, memory,
      [&](int row, float m, float l) {
        args.part_m[part + row] = m;
        args.part_l[part + row] = l;
      },
      [&](int row, int dim, float number) { args.part_acc[(part + row) * args.shape.head_dim + dim] = number; });
  finish_part(args, split.problem, static_cast<int>(blockIdx.y), static_cast<int>(gridDim.y), first_row,
              min(first_row + kBlockRows, args.n_rows()));
}

template <int kChunks>
Status launch(Stream& stream, const AttendLaunch& all) {
  constexpr size_t bytes = sizeof(BlockMemory<kChunks>);
  RECALLD_RETURN_IF_ERROR(
      to_status(cudaFuncSetAttribute(attend_rows<kChunks>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                "reserving shared memory for block attention"));
  const dim3 grid(static_cast<unsigned>(all.n_coded), static_cast<unsigned>(all.row_blocks));
  attend_rows<kChunks><<<grid, 32 * kBlockWarps, bytes, stream_of(stream.handle())>>>(all.args, all.coded);
  return launched("attend_rows");
}

}  // namespace

Status attend_block(Stream& stream, const AttendShape& shape, const DeviceQueries& queries, AttendPlan& plan,
                    const DeviceState& state) {
  AttendLaunch all;
  RECALLD_RETURN_IF_ERROR(all.prepare(stream, AttendKind::kBlock, shape, queries, plan, state, kBlockRows));
  if (plan.n_problems() == 0) return ok_status();
  if (shape.head_dim <= 64) return launch<2>(stream, all);
  if (shape.head_dim <= 128) return launch<4>(stream, all);
  return launch<8>(stream, all);
}

}  // namespace recalld::kernels::cuda
