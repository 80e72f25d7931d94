// Rotary position embedding of already rotated vectors by a further offset: R(p + s) q = R(s) R(p) q.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace recalld::kernels {

// How a model family rotates. inv_freq[i] is the angle per position of pair i, with frequency factors and scaling
// folded in; pairs are (2i, 2i+1) or, in neox mode, (i, i + n_dims/2). Dims from n_dims on are not rotated.
struct RopeSpec {
  int32_t n_dims = 0;
  bool neox = false;
  std::vector<float> inv_freq;  // [n_dims / 2]
};

// Cosines and sines of one offset; offsets may be negative.
class RopeShift {
 public:
  RopeShift(const RopeSpec& spec, int32_t offset);
  // rows: n_rows vectors of head_dim floats, `stride` floats apart; out likewise, contiguous. in and out may be equal
  // when stride == head_dim.
  void rotate(int n_rows, int head_dim, const float* in, size_t stride, float* out) const;

 private:
  bool neox_;
  int32_t n_dims_;
  int32_t offset_;
  std::vector<float> cos_, sin_;
};

// Each token's heads by as many positions as it stands at: `start` for the first, one more for each further one; back
// when `direction` is -1, forth when it is 1. rows: [n_tokens][n_heads][head_dim], in place.
void rotate_tokens(const RopeSpec& spec, int n_tokens, int32_t start, int direction, int n_heads, int head_dim,
                   float* rows);

}  // namespace recalld::kernels
