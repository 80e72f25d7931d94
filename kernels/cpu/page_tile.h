// Where the tiles of a page begin in each of the layouts of kernels/layout.h.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/attend.h"
#include "kernels/visible.h"

namespace recalld::kernels {

// Codes of one side from some token on: blocks of low bits and, for 3 bits, the masks of high bits. For other widths
// `high` is not read, but steps with `low`, so it points at real bytes.
struct CodePointer {
  const uint8_t* low = nullptr;
  const uint8_t* high = nullptr;
};

// Codes of a band from token `token` on, a multiple of kTokenGroup, on either side: both take the same bytes per token
// group.
inline CodePointer codes_at(const uint8_t* codes, int n_tokens, const Band& band, int token) {
  if (band.bits != 3) return {codes + side_bytes(token, band.n_dims, band.bits), codes};
  const uint8_t* high = codes + side_bytes(n_tokens, band.n_dims, 2);
  return {codes + side_bytes(token, band.n_dims, 2), high + side_bytes(token, band.n_dims, 1)};
}

// A tile's part of one stored band of a side.
struct TileBand {
  int bits = 0;
  int n_dims = 0;
  int first_dim = 0;
  CodePointer codes;
  const uint8_t* scales = nullptr;  // from the tile's first token on
  bool byte_scales = false;
  const Codebook* book = nullptr;
  bool trellis = false;
};

inline TileBand tile_band(const SideFormat& format, const uint8_t* codes, const uint8_t* scales, int n_tokens,
                          int token, int index) {
  const BandPlace place = band_place(format, n_tokens, index);
  const Band& band = format.bands[index];
  TileBand tile;
  tile.bits = band.bits;
  tile.n_dims = band.n_dims;
  tile.first_dim = place.first_dim;
  tile.codes = codes_at(codes + place.code_offset, n_tokens, band, token);
  tile.scales = scales + (place.scale_row * padded_tokens(n_tokens) + token) * format.scale_bytes();
  tile.byte_scales = format.byte_scales;
  tile.book = &codebook(format.grid, band.bits);
  tile.trellis = format.grid == Grid::kTrellis;
  return tile;
}

inline TileBand key_band(const PageSlice& page, int token, int index) {
  return tile_band(page.k_format, page.k, page.k_scale, page.n_tokens, token, index);
}

inline TileBand value_band(const PageSlice& page, int token, int index) {
  return tile_band(page.v_format, page.v, page.v_scale, page.n_tokens, token, index);
}

// Halves from token `token` on, likewise.
inline const uint16_t* halves_at(const uint8_t* halves, int head_dim, int token) {
  return reinterpret_cast<const uint16_t*>(halves) + static_cast<size_t>(token) * static_cast<size_t>(head_dim);
}

}  // namespace recalld::kernels
