// Rows in device memory to the sections of pages in device memory, and what else is done to rows: kernels/encode.h,
// transform.h, decode.h and rope.h on a GPU.
//
// Codes, scales, offsets and means are bit-equal with the CPU's, whether tokens come in bulk or one by one.
//
// All pointers are device addresses. Threads and errors: as kernels/cuda/memory.h.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/attend.h"
#include "kernels/cuda/memory.h"
#include "kernels/encode.h"
#include "kernels/rope.h"

namespace recalld::kernels::cuda {

enum class PageSide : int32_t { kKeys, kValues };

// Rows of one side of one KV head, to tokens [first, first + n_rows) of a page that is laid out for page_tokens. Tokens
// before `first` keep their codes. Tokens after come out as zeros up to the next multiple of 32; a page that is filled
// little by little is cleared before. Jobs of one call must not share a page side.
struct EncodeRows {
  PageSide side = PageSide::kKeys;
  int32_t page_tokens = 0;
  int32_t first = 0;
  int32_t n_rows = 0;
  const float* rows = nullptr;     // row of token `first`
  int64_t stride = 0;              // floats between rows
  const uint16_t* mean = nullptr;  // [head_dim] halves subtracted from the rows; null for none
  CodedSide out;                   // of the whole page
};

// The two specs have the same head_dim and flips (host addresses).
struct EncodePair {
  EncodeSpec keys;
  EncodeSpec values;
};

// A list of jobs in device memory. Kept, it serves every launch; set anew, it is uploaded again, without an allocation
// when it is not longer than before.
class EncodeList {
 public:
  // kInvalidArgument when a job's tokens are not in its page. The caller may change `jobs` when this returns.
  Status set(Stream& stream, std::span<const EncodeRows> jobs);

 private:
  friend class Encoder;
  DeviceBuffer jobs_;
  std::vector<std::byte> host_jobs_;
  int n_jobs_ = 0, max_stripes_ = 0;
  bool means_ = true;  // every job has a mean
};

// Encodes a list in one launch.
class Encoder {
 public:
  // kInvalidArgument when a format cannot be one of head_dim or the specs differ.
  static Result<Encoder> create(Stream& stream, const EncodePair& specs);
  Status encode(Stream& stream, const EncodeList& list);
  // The key mean of each job's rows (kernels::transformed_mean) into its `mean`, which must not be null. Specs with
  // flips alone.
  Status means(Stream& stream, const EncodeList& list);

 private:
  Encoder() = default;

  EncodePair specs_;
  DeviceBuffer sign_;
};

// rows = T rows or T^-1 rows, [n_rows][head_dim] in place. sign: [head_dim] device floats, SignFlips::sign.
Status hadamard(Stream& stream, const float* sign, int head_dim, int64_t n_rows, float* rows, bool inverse);

// The numbers of a page side as halves, [n_tokens][head_dim], in the coded basis (kernels/decode.h); slices: device
// array of n_pages pages, out: device array of as many addresses. Numbers beyond the range of halves are clamped.
Status decode_to_halves(Stream& stream, PageSide side, int head_dim, const PageSlice* slices, int n_pages,
                        uint16_t* const* out);

// Query variants of a step: for each of n_variants shifts, q rotated by it (kernels/rope.h) and, with a sign, mapped
// into the coded basis. q: [n_problems][n_rows][head_dim]; out: [n_problems][n_variants][n_rows][head_dim]; turns:
// [n_variants][rope.n_dims / 2][cosine, sine] (rope_turns, uploaded).
Status make_variants(Stream& stream, int n_problems, int n_variants, int n_rows, int head_dim, const RopeSpec& rope,
                     const float* turns, const float* sign, const float* q, float* out);

// On the host: cosines and sines of shifts.
std::vector<float> rope_turns(const RopeSpec& rope, std::span<const int32_t> shifts);

// One copy of a page or of a part of one, between any two places of the device; all multiples of 16.
struct PageCopy {
  const void* from = nullptr;
  void* to = nullptr;
  uint64_t size = 0;
};

// All of them in one launch: the gather of a view's pages into one arena. copies: device array.
Status gather_pages(Stream& stream, const PageCopy* copies, int n_copies);

}  // namespace recalld::kernels::cuda
