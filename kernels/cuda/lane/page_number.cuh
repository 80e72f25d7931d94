// Numbers of a page one at a time, in whichever layout (kernels/layout.h): for pages with 16-bit sides and for
// decoding.
#pragma once

#include "kernels/attend.h"
#include "kernels/cuda/lane/trellis.cuh"
#include "kernels/cuda/lane/unpack.cuh"
#include "kernels/trellis.h"

namespace recalld::kernels::cuda {

// A code of a band whose codes begin at `codes`; n_dims, and dim counted from, the band's.
template <bool key>
RECALLD_LANE int code_at(const uint8_t* codes, int padded, int n_dims, int bits, int token, int dim) {
  const int span = bits == 4 ? 8 : 16;
  const int along = key ? dim : token, lane = key ? token % 16 : dim % 16;
  const int block = key ? token / 16 * (n_dims / span) + dim / span : token / span * (n_dims / 16) + dim / 16;
  const int shift = along % span / 4 * (bits == 4 ? 4 : 2);
  const int code = codes[block * 64 + lane * 4 + along % 4] >> shift & (bits == 4 ? 15 : 3);
  if (bits != 3) return code;
  const int mask = key ? token / 16 * (n_dims / 4) + dim / 4 : token / 4 * (n_dims / 16) + dim / 16;
  const int bit = lane * 4 + along % 4;
  return code | (codes[padded * n_dims / 4 + mask * 8 + bit / 8] >> bit % 8 & 1) << 2;
}

// The level of a rank, by selections and a byte permutation: lanes that ask for different ranks do not wait for each
// other.
RECALLD_LANE int level_of(const LevelTable& table, int rank) {
  const bool upper = (rank & 16) != 0, second = (rank & 8) != 0;
  const uint32_t low = upper ? second ? table.level[6] : table.level[4] : second ? table.level[2] : table.level[0];
  const uint32_t high = upper ? second ? table.level[7] : table.level[5] : second ? table.level[3] : table.level[1];
  return static_cast<int8_t>(permute_bytes(low, high, static_cast<uint32_t>(rank & 7)) & 255);
}

// As get_scale(), in one load.
RECALLD_LANE float scale_number(const SideFormat& format, const uint8_t* scales, int index) {
  return half_value(format.byte_scales ? half_of_scale_byte(scales[index])
                                       : reinterpret_cast<const uint16_t*>(scales)[index]);
}

// scale * unit * level of a coded side; 0 for dims that are not stored.
template <bool key>
RECALLD_LANE float coded_number(const LevelTables& levels, const SideFormat& format, int n_tokens, const uint8_t* codes,
                                const uint8_t* scales, int token, int dim) {
  const int padded = padded_tokens(n_tokens);
  const uint8_t* side = codes;
  int band = 0, first = 0;
  while (dim >= first + format.bands[band].n_dims) {
    codes += static_cast<size_t>(padded) * format.bands[band].n_dims * format.bands[band].bits / 8;
    first += format.bands[band++].n_dims;
  }
  if (band >= format.stored_bands()) return 0;
  const int bits = format.bands[band].bits;
  const LevelTable& table = levels.at(format.grid, bits);
  const int code = code_at<key>(codes, padded, format.bands[band].n_dims, bits, token, dim - first);
  int rank = code;
  if (format.grid == Grid::kTrellis) {
    const int along = key ? dim : token, place = along % 4;
    const FourSubsets subsets =
        side_subsets<key>(format, side, padded, key ? token : token - place, key ? dim - place : dim);
    rank = trellis_place(code, bits) * kTrellisSubsets + subsets.at(place);
  }
  const float scale = scale_number(format, scales, (format.scale_per_band ? band : 0) * padded + token);
  return scale * table.unit * static_cast<float>(level_of(table, rank));
}

RECALLD_LANE float key_number(const LevelTables& levels, const PageSlice& page, int head_dim, int token, int dim) {
  const float mean = page.k_mean == nullptr ? 0.0F : half_value(page.k_mean[dim]);
  if (page.k_format.halves())
    return half_value(reinterpret_cast<const uint16_t*>(page.k)[k_half_index(head_dim, token, dim)]) + mean;
  // Dims that are not stored have the mean alone.
  const bool stored = dim < stored_dims(page.k_format);
  const float offset = page.k_offset == nullptr || !stored ? 0.0F : half_value(page.k_offset[token]);
  return coded_number<true>(levels, page.k_format, page.n_tokens, page.k, page.k_scale, token, dim) + offset + mean;
}

RECALLD_LANE float value_number(const LevelTables& levels, const PageSlice& page, int head_dim, int token, int dim) {
  if (page.v_format.halves())
    return half_value(reinterpret_cast<const uint16_t*>(page.v)[v_half_index(head_dim, token, dim)]);
  const bool stored = dim < stored_dims(page.v_format);
  const float offset = page.v_offset == nullptr || !stored ? 0.0F : half_value(page.v_offset[token]);
  return coded_number<false>(levels, page.v_format, page.n_tokens, page.v, page.v_scale, token, dim) + offset;
}

}  // namespace recalld::kernels::cuda
