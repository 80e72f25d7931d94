// Attention of some query tokens over pages, for one KV head and the G query heads that share it.
//
// The result is an unnormalised flash-attention state, so that a long view can be cut into ranges of pages, attended by
// several threads and merged. For each row (one query token and one query head):
//   m = max score, l = sum exp(score - m), acc = sum exp(score - m) * v.
// Values of coded pages are accumulated in the codec's transformed basis, those of 16-bit pages in the plain one; they
// differ by a linear map that is undone once per row, so acc has one plane per basis ("space"), sharing m and l.
//
// score = scale * (q . k), with q the row's query variant that the page names: a variant is the query rotated by the
// shift of a run of pages (DESIGN: positions in a view are compact) and mapped into the page's basis. A key is visible
// when its view position is <= the query's position and, with a window, > position - window.
//
// Threads: every function is pure but for its outputs and the scratch; any thread, one scratch per thread.
// Errors: none. NaN or infinity in q, in any variant that a page names, gives NaN in that row alone; an empty view
// leaves m = -infinity, l = 0, acc = 0. Sources: online softmax, Milakov and Gimelshein (arXiv 1805.02867); tiles, Dao
// et al. (arXiv 2205.14135).
#pragma once

#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "kernels/layout.h"

namespace recalld::kernels {

// One KV head of one page. Pointers outlive the call and are aligned to their numbers; codes are best 64-byte aligned.
struct PageSlice {
  SideFormat k_format;  // resolved: the dims of the bands add up to head_dim
  SideFormat v_format;
  const uint8_t* k = nullptr;          // halves or codes, kernels/layout.h
  const uint8_t* k_scale = nullptr;    // [n_scales][padded tokens] halves or bytes; null for 16 bits
  const uint16_t* k_offset = nullptr;  // [padded tokens] halves, added to every dim of a key; null for none
  const uint16_t* k_mean = nullptr;    // [head_dim] halves in the page's basis, added to every key; null for none
  const uint8_t* v = nullptr;
  const uint8_t* v_scale = nullptr;
  const uint16_t* v_offset = nullptr;
  int32_t n_tokens = 0;
  int32_t view_start = 0;  // view position of token 0; the others follow without gaps
  int32_t variant = 0;     // which query variant suits this page
  int32_t space = 0;       // which plane of acc receives the values
};

struct AttendShape {
  int32_t head_dim = 0;
  int32_t n_group = 1;  // G: query heads of this KV head
  float scale = 1.0F;
  int32_t window = 0;  // sliding window in view positions; 0 for none
};

// Queries of one KV head. Row r = token * n_group + g.
struct QueryBlock {
  int32_t n_tokens = 0;
  const int32_t* positions = nullptr;  // [n_tokens] view positions, ascending
  const float* q = nullptr;            // [n_variants][n_tokens * n_group][head_dim]
};

struct AttendState {
  int32_t n_spaces = 1;
  float* m = nullptr;    // [n_rows]
  float* l = nullptr;    // [n_rows]
  float* acc = nullptr;  // [n_spaces][n_rows][head_dim]
};

// Grows as needed and is reused: no allocation in the steady state.
class AttendScratch {
 public:
  // At least `size` bytes, 64-byte aligned, contents undefined.
  std::byte* reserve(size_t size);

 private:
  AlignedBuffer buffer_;
};

// m = -infinity, l = 0, acc = 0 for n_rows rows.
void reset_state(const AttendState& state, int n_rows, int head_dim);

// Adds pages to the state. Two ways of computing it, chosen by n_tokens:
//  - few query tokens (decode): runs on the codes. The query is rounded to 8 bits of its largest number in each key
//  band
//    (a relative squared error of 5e-5) and, for each tile of 64 tokens, softmax weights times value scales are rounded
//    to 8 bits of the tile's largest. 16-bit sides, key means and offsets are computed in f32: an offset adds
//    offset[t] * sum_j q_j to a score, and sum_t p[t] offset[t] to every dim of the output.
//  - a block: pages are expanded tile by tile to f32 in scratch, never to memory, and multiplied as matrices.
// Keys are taken in page order, in tiles of 64 from each page's first token, and a row's sums depend on nothing else:
// either way gives a row the same bits whatever other tokens are in the call, and whether pages come in one call or
// several. The two ways differ by f32 rounding on 16-bit sides and by the 8-bit rounding on coded ones.
void attend(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
            const AttendState& state, AttendScratch& scratch);

// The two ways by name; `attend` picks. Same contract.
void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state, AttendScratch& scratch);
void attend_block(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                  const AttendState& state, AttendScratch& scratch);

// into += from (both over the same rows and spaces), by log-sum-exp. Associative up to rounding.
void merge_state(const AttendState& into, const AttendState& from, int n_rows, int head_dim);

namespace reference {
// Plain loops in f32 on decoded values; no 8-bit rounding of queries or weights. The oracle.
void attend(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
            const AttendState& state);
// As attend_decode, step by step with its 8-bit roundings, in scalar code. Equal to it bit for bit, but for 16-bit
// sides on processors that cannot fuse a multiplication with an addition.
void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state);
}  // namespace reference

}  // namespace recalld::kernels
