#include "kernels/cuda/attend.h"

#include "kernels/cuda/attend_finish.cuh"
#include "kernels/cuda/attend_launch.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/lane/attend_coded.cuh"
#include "kernels/cuda/lane/attend_plain.cuh"
#include "kernels/cuda/warp.cuh"

namespace recalld::kernels::cuda {
namespace {

// Pages that a kernel takes: coded ones of the other grids, all coded ones, and any.
enum class Pages { kCoded, kTrellis, kPlain };

// Warps of a block, so that two blocks fit a multiprocessor's shared memory and registers.
template <int kChunks, Pages pages>
constexpr int kWarps = kChunks == 8 || pages == Pages::kPlain ? 4
                       : pages == Pages::kTrellis             ? 6
                                                              : 8;

template <int kChunks, Pages pages>
using WarpMemory = std::conditional_t<pages == Pages::kPlain, PlainMemory<kChunks>, CodedMemory<kChunks>>;

template <int kChunks, Pages pages>
__global__ void __launch_bounds__(32 * kWarps<kChunks, pages>, 2)
    attend_part(const __grid_constant__ AttendArgs args, const int32_t* order) {
  extern __shared__ __align__(16) unsigned char shared[];
  using Memory = WarpMemory<kChunks, pages>;
  auto* memory = reinterpret_cast<Memory*>(shared);
  constexpr int n_warps = kWarps<kChunks, pages>;
  const int index = order[blockIdx.x];
  const AttendSplit split = args.splits[index];
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int end_row = min(first_row + kRows, args.n_rows());

  DeviceWarp warp;
  const int per_warp = (split.n_tiles + n_warps - 1) / n_warps;
  const int first = min(warp.warp() * per_warp, split.n_tiles), end = min(first + per_warp, split.n_tiles);
  if constexpr (pages != Pages::kPlain)
    attend_coded<pages == Pages::kTrellis>(warp, args, split.problem, first_row, split.first_tile + first,
                                           split.first_tile + end, memory[warp.warp()]);
  else
    attend_plain(warp, args, split.problem, first_row, split.first_tile + first, split.first_tile + end,
                 memory[warp.warp()]);
  __syncthreads();

  const int head_dim = args.shape.head_dim;
  for (int i = static_cast<int>(threadIdx.x); i < (end_row - first_row) * head_dim; i += static_cast<int>(blockDim.x)) {
    const int row = i / head_dim, j = i % head_dim;
    const auto m = [&](int part) { return memory[part].m[row]; };
    const MergedSums sums = merge_sums(n_warps, m, [&](int part) { return memory[part].l[row]; });
    const size_t to = static_cast<size_t>(index) * args.n_rows() + first_row + row;
    if (j == 0) {
      args.part_m[to] = sums.m;
      args.part_l[to] = sums.l;
    }
    args.part_acc[to * head_dim + j] =
        merge_number(n_warps, sums.m, m, [&](int part) { return memory[part].acc()[row * head_dim + j]; });
  }
  finish_part(args, split.problem, static_cast<int>(blockIdx.y), static_cast<int>(gridDim.y), first_row, end_row);
}

template <int kChunks, Pages pages>
Status launch(Stream& stream, const AttendLaunch& launch, int n, const int32_t* order) {
  if (n == 0) return ok_status();
  constexpr size_t bytes = sizeof(WarpMemory<kChunks, pages>) * kWarps<kChunks, pages>;
  RECALLD_RETURN_IF_ERROR(
      to_status(cudaFuncSetAttribute(attend_part<kChunks, pages>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                "reserving shared memory for attention"));
  const dim3 grid(static_cast<unsigned>(n), static_cast<unsigned>(launch.row_blocks));
  attend_part<kChunks, pages>
      <<<grid, 32 * kWarps<kChunks, pages>, bytes, stream_of(stream.handle())>>>(launch.args, order);
  return launched(pages == Pages::kPlain ? "attend_plain" : "attend_coded");
}

template <int kChunks>
Status launch_all(Stream& stream, const AttendLaunch& all) {
  RECALLD_RETURN_IF_ERROR((all.trellis ? launch<kChunks, Pages::kTrellis>(stream, all, all.n_coded, all.coded)
                                       : launch<kChunks, Pages::kCoded>(stream, all, all.n_coded, all.coded)));
  return launch<kChunks, Pages::kPlain>(stream, all, all.n_plain, all.plain);
}

__global__ void merge_two(DeviceState into, DeviceState from, int n_rows, int n_spaces, int head_dim) {
  const int problem = static_cast<int>(blockIdx.y), row = static_cast<int>(blockIdx.x);
  const size_t at = static_cast<size_t>(problem) * n_rows + row;
  const float from_m = from.m[at], into_m = into.m[at];
  const auto m = [&](int part) { return part == 0 ? into_m : from_m; };
  const MergedSums sums = merge_sums(2, m, [&](int part) { return part == 0 ? into.l[at] : from.l[at]; });
  for (int i = static_cast<int>(threadIdx.x); i < n_spaces * head_dim; i += static_cast<int>(blockDim.x)) {
    const int space = i / head_dim, j = i % head_dim;
    const size_t number = ((static_cast<size_t>(problem) * n_spaces + space) * n_rows + row) * head_dim + j;
    into.acc[number] = merge_number(2, sums.m, m, [&](int part) { return (part == 0 ? into : from).acc[number]; });
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    into.m[at] = sums.m;
    into.l[at] = sums.l;
  }
}

}  // namespace

Status attend_decode(Stream& stream, const AttendShape& shape, const DeviceQueries& queries, AttendPlan& plan,
                     const DeviceState& state) {
  AttendLaunch all;
  RECALLD_RETURN_IF_ERROR(all.prepare(stream, AttendKind::kDecode, shape, queries, plan, state, kRows));
  if (plan.n_problems() == 0) return ok_status();
  if (shape.head_dim <= 64) return launch_all<2>(stream, all);
  if (shape.head_dim <= 128) return launch_all<4>(stream, all);
  return launch_all<8>(stream, all);
}

Status merge_states(Stream& stream, const DeviceState& into, const DeviceState& from, int n_problems, int n_rows,
                    int n_spaces, int head_dim) {
  if (n_problems == 0 || n_rows == 0) return ok_status();
  const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(n_problems));
  merge_two<<<grid, 128, 0, stream_of(stream.handle())>>>(into, from, n_rows, n_spaces, head_dim);
  return launched("merge_states");
}

}  // namespace recalld::kernels::cuda
