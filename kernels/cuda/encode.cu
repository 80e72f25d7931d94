#include "kernels/cuda/encode.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/cuda/error.h"
#include "kernels/cuda/lane/encode.cuh"
#include "kernels/cuda/lane/page_number.cuh"
#include "kernels/cuda/warp.cuh"

namespace recalld::kernels::cuda {
namespace {

// Warps of a block; each has rows of its own in shared memory and nothing to do with the others.
template <int kChunks>
constexpr int kWarps = kChunks == 2   ? 4
                       : kChunks == 4 ? 2
                                      : 1;

template <int kChunks, bool trellis>
__global__ void __launch_bounds__(32 * kWarps<kChunks>, 8 / kWarps<kChunks>)
    encode_stripes(const __grid_constant__ EncodeArgs args, const EncodeJob* jobs, int n_jobs) {
  extern __shared__ __align__(16) unsigned char shared[];
  auto* memory = reinterpret_cast<EncodeMemory<kChunks, trellis>*>(shared);
  DeviceWarp warp;
  const int index = static_cast<int>(blockIdx.x) * kWarps<kChunks> + warp.warp();
  if (index >= n_jobs) return;
  const EncodeJob job = jobs[index];
  const int stripe = job.first / kStripe + static_cast<int>(blockIdx.y);
  if (stripe * kStripe >= job.first + job.n_rows) return;
  encode_stripe(warp, args, job, stripe, memory[warp.warp()]);
}

__global__ void __launch_bounds__(32) mean_of_jobs(int head_dim, const float* sign, const EncodeJob* jobs) {
  DeviceWarp warp;
  const EncodeJob job = jobs[blockIdx.x];
  mean_of_rows<8>(warp, head_dim, sign, job.rows, job.stride, job.n_rows, const_cast<uint16_t*>(job.mean));
}

template <int kChunks>
__global__ void __launch_bounds__(128)
    hadamard_rows(const float* sign, int head_dim, int64_t n_rows, float* rows, bool inverse) {
  DeviceWarp warp;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * 4 + warp.warp();
  if (row >= n_rows) return;
  float* at = rows + row * head_dim;
  float x[kChunks];
#pragma unroll
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    x[i] = j < head_dim ? at[j] : 0.0F;
  }
  if (inverse)
    inverse_transform_row(warp, head_dim, sign, x);
  else
    transform_row(warp, head_dim, sign, x);
#pragma unroll
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    if (j < head_dim) at[j] = x[i];
  }
}

__global__ void __launch_bounds__(256) decode_page(const __grid_constant__ LevelTables levels, bool keys, int head_dim,
                                                   const PageSlice* slices, uint16_t* const* out) {
  const PageSlice& page = slices[blockIdx.x];
  for (int i = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x); i < page.n_tokens * head_dim;
       i += static_cast<int>(gridDim.y * blockDim.x)) {
    const int token = i / head_dim, dim = i % head_dim;
    const float number =
        keys ? key_number(levels, page, head_dim, token, dim) : value_number(levels, page, head_dim, token, dim);
    out[blockIdx.x][i] = half_bits(safe_number(number));
  }
}

// A warp per row and variant.
__global__ void __launch_bounds__(32) rotate_rows(RopePairs rope, int n_variants, int n_rows, int head_dim,
                                                  const float* turns, const float* sign, const float* q, float* out) {
  DeviceWarp warp;
  const int row = static_cast<int>(blockIdx.x), variant = static_cast<int>(blockIdx.y);
  const int problem = static_cast<int>(blockIdx.z);
  const float* from = q + (static_cast<size_t>(problem) * n_rows + row) * head_dim;
  float* to = out + ((static_cast<size_t>(problem) * n_variants + variant) * n_rows + row) * head_dim;
  float x[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int j = 32 * i + warp.lane();
    x[i] = j < head_dim ? rotated_number(rope, from, turns + variant * rope.n_dims, j) : 0.0F;
  }
  if (sign != nullptr) transform_row(warp, head_dim, sign, x);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const int j = 32 * i + warp.lane();
    if (j < head_dim) to[j] = x[i];
  }
}

__global__ void __launch_bounds__(256) copy_pages(const PageCopy* copies) {
  const PageCopy copy = copies[blockIdx.x];
  const auto* from = static_cast<const uint4*>(copy.from);
  auto* to = static_cast<uint4*>(copy.to);
  for (uint64_t i = blockIdx.y * blockDim.x + threadIdx.x; i < copy.size / 16; i += gridDim.y * blockDim.x)
    to[i] = from[i];
}

template <int kChunks, bool trellis>
Status launch_encode(Stream& stream, const EncodeArgs& args, const EncodeJob* jobs, int n_jobs, int max_stripes) {
  constexpr size_t bytes = sizeof(EncodeMemory<kChunks, trellis>) * kWarps<kChunks>;
  RECALLD_RETURN_IF_ERROR(to_status(
      cudaFuncSetAttribute(encode_stripes<kChunks, trellis>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
      "reserving shared memory for encoding"));
  const dim3 grid(static_cast<unsigned>((n_jobs + kWarps<kChunks> - 1) / kWarps<kChunks>),
                  static_cast<unsigned>(max_stripes));
  encode_stripes<kChunks, trellis>
      <<<grid, 32 * kWarps<kChunks>, bytes, stream_of(stream.handle())>>>(args, jobs, n_jobs);
  return launched("encode_stripes");
}

template <int kChunks>
Status launch_encode(Stream& stream, const EncodeArgs& args, const EncodeJob* jobs, int n_jobs, int max_stripes) {
  const bool trellis = args.side[0].format.grid == Grid::kTrellis || args.side[1].format.grid == Grid::kTrellis;
  return trellis ? launch_encode<kChunks, true>(stream, args, jobs, n_jobs, max_stripes)
                 : launch_encode<kChunks, false>(stream, args, jobs, n_jobs, max_stripes);
}

EncodeSide side_of(const EncodeSpec& spec) { return {spec.format, spec.rule, clip_rank(spec.clip, spec.head_dim)}; }

}  // namespace

Result<Encoder> Encoder::create(Stream& stream, const EncodePair& specs) {
  const int head_dim = specs.keys.head_dim;
  if (head_dim < 16 || head_dim > kMaxHeadDim || head_dim % 16 != 0 || specs.values.head_dim != head_dim)
    return invalid_argument("head_dim of keys and values must be one multiple of 16 up to 256");
  if (specs.keys.flips != specs.values.flips)
    return invalid_argument("keys and values must be coded in the same basis");
  for (const EncodeSpec* spec : {&specs.keys, &specs.values}) {
    const char* side = spec == &specs.keys ? "keys: " : "values: ";
    const std::string error = format_error(spec->format, head_dim);
    if (!error.empty()) return invalid_argument(side + error);
    if (spec->format.halves() || spec->format != resolve(spec->format, head_dim))
      return invalid_argument(std::string(side) + "the format must be a coded and resolved one");
  }
  Encoder encoder;
  encoder.specs_ = specs;
  if (specs.keys.flips != nullptr) {
    RECALLD_ASSIGN_OR_RETURN(encoder.sign_,
                             upload_all(stream, specs.keys.flips->sign, static_cast<size_t>(head_dim), "sign flips"));
    RECALLD_RETURN_IF_ERROR(stream.synchronize());
  }
  return Result<Encoder>(std::move(encoder));
}

Status EncodeList::set(Stream& stream, std::span<const EncodeRows> jobs) {
  host_jobs_.resize(jobs.size() * sizeof(EncodeJob));
  auto* host = reinterpret_cast<EncodeJob*>(host_jobs_.data());
  n_jobs_ = static_cast<int>(jobs.size());
  max_stripes_ = 0;
  means_ = true;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const EncodeRows& rows = jobs[i];
    if (rows.n_rows < 1 || rows.first < 0 || rows.page_tokens > kMaxPageTokens ||
        rows.first + rows.n_rows > rows.page_tokens)
      return invalid_argument("job " + std::to_string(i) + " encodes tokens " + std::to_string(rows.first) + " to " +
                              std::to_string(rows.first + rows.n_rows) + " of a page of " +
                              std::to_string(rows.page_tokens));
    host[i] = {rows.rows,        rows.stride,      rows.mean,  rows.out.codes, rows.out.scales,
               rows.out.offsets, rows.page_tokens, rows.first, rows.n_rows,    static_cast<int32_t>(rows.side)};
    const int stripes = (rows.first + rows.n_rows - 1) / kStripe - rows.first / kStripe + 1;
    max_stripes_ = std::max(max_stripes_, stripes);
    means_ = means_ && rows.mean != nullptr;
  }
  if (jobs_.size() < host_jobs_.size()) {
    RECALLD_ASSIGN_OR_RETURN(jobs_, DeviceBuffer::allocate(host_jobs_.size(), "encoding jobs"));
  }
  return stream.upload(jobs_.data(), host_jobs_.data(), host_jobs_.size());
}

Status Encoder::encode(Stream& stream, const EncodeList& list) {
  if (list.n_jobs_ == 0) return ok_status();
  EncodeArgs args;
  args.side[0] = side_of(specs_.keys);
  args.side[1] = side_of(specs_.values);
  args.head_dim = specs_.keys.head_dim;
  args.sign = specs_.keys.flips == nullptr ? nullptr : sign_.as<float>();
  args.books = codebooks();
  args.search = search_tables();
  const auto* jobs = list.jobs_.as<EncodeJob>();
  if (args.head_dim <= 64) return launch_encode<2>(stream, args, jobs, list.n_jobs_, list.max_stripes_);
  if (args.head_dim <= 128) return launch_encode<4>(stream, args, jobs, list.n_jobs_, list.max_stripes_);
  return launch_encode<8>(stream, args, jobs, list.n_jobs_, list.max_stripes_);
}

Status Encoder::means(Stream& stream, const EncodeList& list) {
  if (list.n_jobs_ == 0) return ok_status();
  if (specs_.keys.flips == nullptr) return invalid_argument("means are taken where rows are transformed here");
  if (!list.means_) return invalid_argument("a job has no room for its mean");
  mean_of_jobs<<<static_cast<unsigned>(list.n_jobs_), 32, 0, stream_of(stream.handle())>>>(
      specs_.keys.head_dim, sign_.as<float>(), list.jobs_.as<EncodeJob>());
  return launched("mean_of_jobs");
}

Status hadamard(Stream& stream, const float* sign, int head_dim, int64_t n_rows, float* rows, bool inverse) {
  if (n_rows == 0) return ok_status();
  const auto grid = static_cast<unsigned>((n_rows + 3) / 4);
  const cudaStream_t at = stream_of(stream.handle());
  if (head_dim <= 64)
    hadamard_rows<2><<<grid, 128, 0, at>>>(sign, head_dim, n_rows, rows, inverse);
  else if (head_dim <= 128)
    hadamard_rows<4><<<grid, 128, 0, at>>>(sign, head_dim, n_rows, rows, inverse);
  else
    hadamard_rows<8><<<grid, 128, 0, at>>>(sign, head_dim, n_rows, rows, inverse);
  return launched("hadamard_rows");
}

Status decode_to_halves(Stream& stream, PageSide side, int head_dim, const PageSlice* slices, int n_pages,
                        uint16_t* const* out) {
  if (n_pages == 0) return ok_status();
  decode_page<<<dim3(static_cast<unsigned>(n_pages), 8), 256, 0, stream_of(stream.handle())>>>(
      level_tables(), side == PageSide::kKeys, head_dim, slices, out);
  return launched("decode_page");
}

Status make_variants(Stream& stream, int n_problems, int n_variants, int n_rows, int head_dim, const RopeSpec& rope,
                     const float* turns, const float* sign, const float* q, float* out) {
  if (n_problems == 0 || n_variants == 0 || n_rows == 0) return ok_status();
  const dim3 grid(static_cast<unsigned>(n_rows), static_cast<unsigned>(n_variants), static_cast<unsigned>(n_problems));
  rotate_rows<<<grid, 32, 0, stream_of(stream.handle())>>>({rope.n_dims, rope.neox ? 1 : 0}, n_variants, n_rows,
                                                           head_dim, turns, sign, q, out);
  return launched("rotate_rows");
}

Status gather_pages(Stream& stream, const PageCopy* copies, int n_copies) {
  if (n_copies == 0) return ok_status();
  copy_pages<<<dim3(static_cast<unsigned>(n_copies), 4), 256, 0, stream_of(stream.handle())>>>(copies);
  return launched("copy_pages");
}

}  // namespace recalld::kernels::cuda
