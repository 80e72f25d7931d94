// A tile of a page as halves in shared memory, for the products of block attention: keys [token][dim], values
// [dim][token], each row padded so that lanes that read down a column meet no bank twice. By all threads of a block; a
// thread expands whole words of codes.
#pragma once

#include "kernels/cuda/lane/encode.cuh"
#include "kernels/cuda/lane/page_number.cuh"
#include "kernels/visible.h"

namespace recalld::kernels::cuda {

// Halves between rows.
template <int kChunks>
struct ExpandedTile {
  static constexpr int kTokens = kTileTokens;
  static constexpr int kKeyStride = 32 * kChunks + 8;
  static constexpr int kValueStride = kTokens + 8;

  alignas(16) uint16_t k[kTokens][kKeyStride];
  alignas(16) uint16_t v[32 * kChunks][kValueStride];
};

// One band of a side, words [first, first + step, ...): store(token of the tile, dim of the side, scale * unit *
// level). token: the tile's first; n: its tokens; side: the side's codes in the page; codes: the band's.
template <bool key, class Store>
RECALLD_LANE void expand_band(const LevelTable& table, const SideFormat& format, int index_of_band, int first_dim,
                              int page_padded, int token, int n, const uint8_t* side, const uint8_t* codes,
                              const uint8_t* scales, int first, int step, const Store& store) {
  const Band& band = format.bands[index_of_band];
  const int first_scale = (format.scale_per_band ? index_of_band * page_padded : 0) + token;
  const int bits = band.bits, n_dims = band.n_dims, width = bits == 4 ? 4 : 2, places = 32 / width;
  const int n_words = padded_tokens(n) * n_dims / places;
  const uint8_t* low = codes + static_cast<size_t>(token) * n_dims * width / 8;
  const uint8_t* high = codes + static_cast<size_t>(page_padded) * n_dims / 4 + static_cast<size_t>(token) * n_dims / 8;
  for (int index = first; index < n_words; index += step) {
    const auto word = load<uint32_t>(low + index * 4);
    // Blocks of 16 words: of 16 tokens for K, of 16 dims for V.
    const int lane = index % 16, block = index / 16;
    const int across = key ? n_dims / places : n_dims / 16;
    const int outer = block / across, inner = block % across;
    FourSubsets subsets;
    for (int i = 0; i < places; ++i) {
      const int quad = i / 4, place = i % 4;
      const int at_token = key ? outer * 16 + lane : outer * places + i;
      const int at_dim = key ? inner * places + i : inner * 16 + lane;
      uint32_t code = word >> (8 * place + width * quad) & ((1u << width) - 1);
      if (bits == 3) {
        const int mask = key ? outer * (n_dims / 4) + at_dim / 4 : at_token / 4 * (n_dims / 16) + inner;
        const int bit = lane * 4 + place;
        code |= (high[mask * 8 + bit / 8] >> bit % 8 & 1u) << 2;
      }
      auto rank = static_cast<int>(code);
      if (format.grid == Grid::kTrellis) {
        if (place == 0) subsets = side_subsets<key>(format, side, page_padded, token + at_token, first_dim + at_dim);
        rank = trellis_place(rank, bits) * kTrellisSubsets + subsets.at(place);
      }
      if (at_token >= n) continue;
      store(at_token, first_dim + at_dim,
            scale_number(format, scales, first_scale + at_token) * table.unit *
                static_cast<float>(level_of(table, rank)));
    }
  }
}

// Thread `thread` of n_threads does its part. Numbers that are no tokens become 0.
template <int kChunks>
RECALLD_LANE void expand_tile(const LevelTables& levels, const PageSlice& page, int head_dim, int token, int n,
                              int thread, int n_threads, ExpandedTile<kChunks>& tile) {
  for (int i = thread; i < kTileTokens * head_dim; i += n_threads) {
    const int at = i / head_dim, dim = i % head_dim;
    const bool halves = at < n && page.k_format.halves();
    // Dims that are not stored have the mean; codes overwrite the others.
    if (halves || at >= n || dim >= stored_dims(page.k_format))
      tile.k[at][dim] = at < n ? half_bits(safe_number(key_number(levels, page, head_dim, token + at, dim))) : 0;
    if (at >= n || page.v_format.halves() || dim >= stored_dims(page.v_format))
      tile.v[dim][at] = at < n ? half_bits(safe_number(value_number(levels, page, head_dim, token + at, dim))) : 0;
  }
  const int padded = padded_tokens(page.n_tokens);
  const uint8_t* codes = page.k;
  int first_dim = 0;
  for (int band = 0; band < page.k_format.stored_bands(); ++band) {
    const Band& at = page.k_format.bands[band];
    expand_band<true>(levels.at(page.k_format.grid, at.bits), page.k_format, band, first_dim, padded, token, n, page.k,
                      codes, page.k_scale, thread, n_threads, [&](int t, int dim, float number) {
                        if (page.k_offset != nullptr) number += half_value(page.k_offset[token + t]);
                        if (page.k_mean != nullptr) number += half_value(page.k_mean[dim]);
                        tile.k[t][dim] = half_bits(safe_number(number));
                      });
    codes += static_cast<size_t>(padded) * at.n_dims * at.bits / 8;
    first_dim += at.n_dims;
  }
  codes = page.v;
  first_dim = 0;
  for (int band = 0; band < page.v_format.stored_bands(); ++band) {
    const Band& at = page.v_format.bands[band];
    expand_band<false>(levels.at(page.v_format.grid, at.bits), page.v_format, band, first_dim, padded, token, n, page.v,
                       codes, page.v_scale, thread, n_threads, [&](int t, int dim, float number) {
                         if (page.v_offset != nullptr) number += half_value(page.v_offset[token + t]);
                         tile.v[dim][t] = half_bits(safe_number(number));
                       });
    codes += static_cast<size_t>(padded) * at.n_dims * at.bits / 8;
    first_dim += at.n_dims;
  }
}

}  // namespace recalld::kernels::cuda
