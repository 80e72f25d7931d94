// Numbers of a page one at a time, in whichever layout: for the reference kernels.
#pragma once

#include "base/bytes.h"
#include "kernels/attend.h"

namespace recalld::kernels::reference {

// One page with its numbers decoded one at a time.
class PageReader {
 public:
  PageReader(const PageSlice& page, int head_dim)
      : page_(page), head_dim_(head_dim), padded_(padded_tokens(page.n_tokens)) {}

  int k_level(int token, int dim) const {
    return lloyd_max(page_.k_bits).levels[get_k_code(page_.k, padded_, head_dim_, page_.k_bits, token, dim)];
  }
  int v_level(int token, int dim) const {
    return lloyd_max(page_.v_bits).levels[get_v_code(page_.v, padded_, head_dim_, page_.v_bits, token, dim)];
  }
  float k_scale(int token) const { return half_to_float(page_.k_scale[token]); }
  float v_scale(int token) const { return half_to_float(page_.v_scale[token]); }
  float k_mean(int dim) const { return page_.k_mean == nullptr ? 0.0F : half_to_float(page_.k_mean[dim]); }

  float k_half(int token, int dim) const {
    return half_to_float(reinterpret_cast<const uint16_t*>(page_.k)[k_half_index(head_dim_, token, dim)]);
  }
  float v_half(int token, int dim) const {
    return half_to_float(reinterpret_cast<const uint16_t*>(page_.v)[v_half_index(head_dim_, token, dim)]);
  }

  float k(int token, int dim) const {
    if (page_.k_bits == 16) return k_half(token, dim) + k_mean(dim);
    return k_scale(token) * lloyd_max(page_.k_bits).unit * static_cast<float>(k_level(token, dim)) + k_mean(dim);
  }
  float v(int token, int dim) const {
    if (page_.v_bits == 16) return v_half(token, dim);
    return v_scale(token) * lloyd_max(page_.v_bits).unit * static_cast<float>(v_level(token, dim));
  }

 private:
  const PageSlice& page_;
  int head_dim_, padded_;
};

}  // namespace recalld::kernels::reference
