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

  // Of dims that are stored.
  int k_level(int token, int dim) const {
    const Codebook& book = codebook(page_.k_format.grid, page_.k_format.bands[band_of(page_.k_format, dim)].bits);
    return book.levels[get_k_rank(page_.k, padded_, page_.k_format, token, dim)];
  }
  int v_level(int token, int dim) const {
    const Codebook& book = codebook(page_.v_format.grid, page_.v_format.bands[band_of(page_.v_format, dim)].bits);
    return book.levels[get_v_rank(page_.v, padded_, page_.v_format, token, dim)];
  }
  float k_scale(int token, int band) const { return scale(page_.k_format, page_.k_scale, token, band); }
  float v_scale(int token, int band) const { return scale(page_.v_format, page_.v_scale, token, band); }
  float k_mean(int dim) const { return page_.k_mean == nullptr ? 0.0F : half_to_float(page_.k_mean[dim]); }
  float k_offset(int token) const { return page_.k_offset == nullptr ? 0.0F : half_to_float(page_.k_offset[token]); }
  float v_offset(int token) const { return page_.v_offset == nullptr ? 0.0F : half_to_float(page_.v_offset[token]); }

  float k_half(int token, int dim) const {
    return half_to_float(reinterpret_cast<const uint16_t*>(page_.k)[k_half_index(head_dim_, token, dim)]);
  }
  float v_half(int token, int dim) const {
    return half_to_float(reinterpret_cast<const uint16_t*>(page_.v)[v_half_index(head_dim_, token, dim)]);
  }

  float k(int token, int dim) const {
    if (page_.k_format.halves()) return k_half(token, dim) + k_mean(dim);
    const int band = band_of(page_.k_format, dim);
    if (band == page_.k_format.stored_bands()) return k_mean(dim);
    const float unit = codebook(page_.k_format.grid, page_.k_format.bands[band].bits).unit;
    return k_scale(token, band) * unit * static_cast<float>(k_level(token, dim)) + k_offset(token) + k_mean(dim);
  }
  float v(int token, int dim) const {
    if (page_.v_format.halves()) return v_half(token, dim);
    const int band = band_of(page_.v_format, dim);
    if (band == page_.v_format.stored_bands()) return 0.0F;
    const float unit = codebook(page_.v_format.grid, page_.v_format.bands[band].bits).unit;
    return v_scale(token, band) * unit * static_cast<float>(v_level(token, dim)) + v_offset(token);
  }

 private:
  float scale(const SideFormat& format, const uint8_t* scales, int token, int band) const {
    const int at = band_place(format, page_.n_tokens, band).scale_row * padded_ + token;
    return half_to_float(get_scale(format, scales, static_cast<size_t>(at)));
  }

  const PageSlice& page_;
  int head_dim_, padded_;
};

}  // namespace recalld::kernels::reference
