// The randomised Hadamard transform (kernels/transform.h) and the rotary shift (kernels/rope.h) of one row by one warp:
// number 32 i + lane of the row is x[i]. Bit-equal with the CPU: a butterfly is one addition and one subtraction, and
// stages come in the same order, from the largest stride to 1; strides from 32 on are between registers of a lane.
#pragma once

#include "kernels/cuda/lane/portable.cuh"

namespace recalld::kernels::cuda {

// The size of the Hadamard block that a dim lies in; 0 past head_dim.
RECALLD_LANE int hadamard_block(int head_dim, int dim) {
  int left = head_dim, start = 0;
  for (int size = 256; size >= 16; size /= 2) {
    if (left < size) continue;
    if (dim < start + size) return size;
    start += size;
    left -= size;
  }
  return 0;
}

template <int kChunks, class Warp>
RECALLD_LANE void hadamard_row(Warp& warp, int head_dim, float (&x)[kChunks]) {
  RECALLD_UNROLL
  for (int step = kChunks / 2; step >= 1; step /= 2) {
    RECALLD_UNROLL
    for (int i = 0; i < kChunks; ++i) {
      if ((i & step) != 0 || hadamard_block(head_dim, 32 * i) < 64 * step) continue;
      const float a = x[i], b = x[i + step];
      x[i] = add(a, b);
      x[i + step] = subtract(a, b);
    }
  }
  RECALLD_UNROLL
  for (int stride = 16; stride >= 1; stride /= 2) {
    RECALLD_UNROLL
    for (int i = 0; i < kChunks; ++i) {
      const float other = warp.shuffle_xor(x[i], stride);
      if (hadamard_block(head_dim, 32 * i) < 2 * stride) continue;
      x[i] = (warp.lane() & stride) == 0 ? add(x[i], other) : subtract(other, x[i]);
    }
  }
  RECALLD_UNROLL
  for (int i = 0; i < kChunks; ++i) {
    const int size = hadamard_block(head_dim, 32 * i);
    if (size > 0) x[i] = multiply(x[i], divide(1.0F, square_root(static_cast<float>(size))));
  }
}

// x = T x; sign: [head_dim] as +1 and -1.
template <int kChunks, class Warp>
RECALLD_LANE void transform_row(Warp& warp, int head_dim, const float* sign, float (&x)[kChunks]) {
  RECALLD_UNROLL
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    x[i] = j < head_dim ? multiply(x[i], sign[j]) : 0.0F;
  }
  hadamard_row(warp, head_dim, x);
}

// x = T^-1 x.
template <int kChunks, class Warp>
RECALLD_LANE void inverse_transform_row(Warp& warp, int head_dim, const float* sign, float (&x)[kChunks]) {
  hadamard_row(warp, head_dim, x);
  RECALLD_UNROLL
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    if (j < head_dim) x[i] = multiply(x[i], sign[j]);
  }
}

// How queries are rotated: pairs are (2 i, 2 i + 1) or, in neox mode, (i, i + n_dims / 2); dims from n_dims on stay.
struct RopePairs {
  int32_t n_dims = 0;
  int32_t neox = 0;
};

// Number `dim` of a row rotated by one shift, from the row itself. turn: [n_dims / 2][cosine, sine] of the shift.
RECALLD_LANE float rotated_number(const RopePairs& rope, const float* row, const float* turn, int dim) {
  if (dim >= rope.n_dims) return row[dim];
  const int half = rope.n_dims / 2;
  const int pair = rope.neox ? dim % half : dim / 2;
  const int step = rope.neox ? half : 1, first = rope.neox ? pair : 2 * pair;
  const float x = row[first], y = row[first + step];
  const float cosine = turn[2 * pair], sine = turn[2 * pair + 1];
  return dim == first ? subtract(multiply(x, cosine), multiply(y, sine)) : add(multiply(x, sine), multiply(y, cosine));
}

}  // namespace recalld::kernels::cuda
