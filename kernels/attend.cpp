#include "kernels/attend.h"

#include <algorithm>

#include "kernels/exact_math.h"

namespace recalld::kernels {
namespace {

// Up to here the rows are few enough that unpacking codes and reading pages outweigh the products.
constexpr int kDecodeTokens = 4;

}  // namespace

std::byte* AttendScratch::reserve(size_t size) {
  if (buffer_.size() < size) buffer_ = AlignedBuffer(size);
  return buffer_.data();
}

void reset_state(const AttendState& state, int n_rows, int head_dim) {
  const size_t rows = static_cast<size_t>(n_rows);
  std::fill_n(state.m, rows, kNegativeInfinity);
  std::fill_n(state.l, rows, 0.0F);
  std::fill_n(state.acc, static_cast<size_t>(state.n_spaces) * rows * static_cast<size_t>(head_dim), 0.0F);
}

void attend(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
            const AttendState& state, AttendScratch& scratch) {
  if (queries.n_tokens <= kDecodeTokens)
    attend_decode(shape, queries, pages, state, scratch);
  else
    attend_block(shape, queries, pages, state, scratch);
}

void merge_state(const AttendState& into, const AttendState& from, int n_rows, int head_dim) {
  const size_t dims = static_cast<size_t>(head_dim);
  for (size_t row = 0; row < static_cast<size_t>(n_rows); ++row) {
    if (from.m[row] == kNegativeInfinity) continue;
    const float m = std::max(into.m[row], from.m[row]);
    const float keep = exact_exp(into.m[row] - m);
    const float add = exact_exp(from.m[row] - m);
    into.m[row] = m;
    into.l[row] = into.l[row] * keep + from.l[row] * add;
    for (int space = 0; space < into.n_spaces; ++space) {
      const size_t at = (static_cast<size_t>(space) * static_cast<size_t>(n_rows) + row) * dims;
      for (size_t j = at; j < at + dims; ++j) into.acc[j] = into.acc[j] * keep + from.acc[j] * add;
    }
  }
}

}  // namespace recalld::kernels
