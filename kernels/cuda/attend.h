// Attention over pages in device memory: kernels/attend.h on a GPU, for several problems in one launch. A problem is
// one KV head of one sequence, with the n_group query heads that share it.
//
// Pages lie in device memory byte for byte as on the CPU (kernels/layout.h, docs/page-format.md): nothing is converted
// on the way. A plan says how one view is cut into parts for the device's multiprocessors; it is built on the host once
// for a set of pages and used by every step that attends them. attend_decode then takes one launch, or two where the
// view has pages with a 16-bit side: parts are attended and, by the last block of each problem, merged.
//
// Numbers. attend_decode rounds like kernels::attend_decode: on coded sides its integers are the same, and results
// differ from the CPU's by f32 rounding and by what a weight between two 8-bit integers makes of it (1/255 of the
// largest of 64). attend_block rounds queries, keys, values and weights to halves, with sums in f32. A row whose query
// is not finite, in any variant that a page names, gives NaN in that row alone. A row that sees nothing has m =
// -infinity, l = 0, acc = 0.
//
// Threads: calls that share a plan or a stream are made one at a time. Errors: kInvalidArgument naming the page and
// what is wrong with it, else those of kernels/cuda/memory.h. Sources: Flash-Decoding (Dao et al. 2023) for the split
// over keys; FlashAttention-2 (arXiv 2307.08691) for the block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/attend.h"
#include "kernels/cuda/memory.h"

namespace recalld::kernels::cuda {

enum class AttendKind {
  kDecode,  // few query tokens
  kBlock,   // many: prefill
};

// How the pages of n_problems problems are cut into parts. Owns the device's copy of the lists and the memory of
// partial results.
class AttendPlan {
 public:
  // problems[i] are the pages of problem i in the order of the view. Their pointers are device addresses aligned to 16
  // bytes and must stay valid while the plan is used; the vectors are copied. Returns after the copy is done.
  static Result<AttendPlan> create(Stream& stream, AttendKind kind, int head_dim, int n_spaces,
                                   std::span<const std::vector<PageSlice>> problems);

  AttendKind kind() const { return kind_; }
  int head_dim() const { return head_dim_; }
  int n_spaces() const { return n_spaces_; }
  int n_problems() const { return n_problems_; }
  // Of the pages: queries must have more.
  int last_variant() const { return last_variant_; }

 private:
  friend class AttendLaunch;
  AttendPlan() = default;

  AttendKind kind_ = AttendKind::kDecode;
  int head_dim_ = 0, n_spaces_ = 0, n_problems_ = 0, last_variant_ = 0;
  int n_splits_ = 0, n_coded_ = 0, n_plain_ = 0;
  bool trellis_ = false;
  DeviceBuffer slices_, tiles_, splits_, problems_;
  DeviceBuffer coded_, plain_;  // which splits each kernel takes
  // Grown when a call needs more.
  DeviceBuffer parts_, done_;
};

// Device addresses.
struct DeviceQueries {
  int32_t n_tokens = 0;
  int32_t n_variants = 0;
  const int32_t* positions = nullptr;  // [n_problems][n_tokens] view positions, ascending
  const float* q = nullptr;            // [n_problems][n_variants][n_tokens * n_group][head_dim]
};

// Device addresses. Written, not added to.
struct DeviceState {
  float* m = nullptr;    // [n_problems][n_rows], n_rows = n_tokens * n_group
  float* l = nullptr;    // [n_problems][n_rows]
  float* acc = nullptr;  // [n_problems][n_spaces][n_rows][head_dim]
};

// shape.head_dim must be the plan's. Allocates only when n_rows is larger than in any call before.
Status attend_decode(Stream& stream, const AttendShape& shape, const DeviceQueries& queries, AttendPlan& plan,
                     const DeviceState& state);
Status attend_block(Stream& stream, const AttendShape& shape, const DeviceQueries& queries, AttendPlan& plan,
                    const DeviceState& state);

// into += from, by log-sum-exp: kernels::merge_state for n_problems problems.
Status merge_states(Stream& stream, const DeviceState& into, const DeviceState& from, int n_problems, int n_rows,
                    int n_spaces, int head_dim);

}  // namespace recalld::kernels::cuda
