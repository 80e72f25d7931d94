// The inner loops of decode attention: up to kMaxRows rows against one tile, so that every code unpacked serves all
// query heads that share it. Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ATTEND_DECODE_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ATTEND_DECODE_ROWS_INL_H_
#undef RECALLD_KERNELS_CPU_ATTEND_DECODE_ROWS_INL_H_
#else
#define RECALLD_KERNELS_CPU_ATTEND_DECODE_ROWS_INL_H_
#endif

#include "kernels/cpu/attend_codes-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES("avx512vnni")
#endif
namespace recalld::kernels::HWY_NAMESPACE {

// Rows worked on together: their sums and one unpacked vector fit in 16 registers.
constexpr int kMaxRows = 4;

// One row during a tile.
struct RowWork {
  const float* q = nullptr;       // [head_dim]
  const Quad* q_quads = nullptr;  // of the band at hand: [n_dims / 4], q rounded to 8 bits
  int32_t q_bias = 0;             // what kKeyOffset adds to the band's integer dot product
  float q_factor = 0;             // of the band's integer dot product
  float mean = 0;                 // score of the page's key mean
  float per_offset = 0;           // score of a key offset of 1
  float* acc = nullptr;           // [head_dim]
  float w_step = 0;               // of the rounded weights
  Quad w_quads[kTileTokens / 4];
  alignas(64) float p[kTileTokens];  // scores, then weights
};

// Addresses and sizes of the tile.
struct TileWork {
  int head_dim = 0;
  float scale = 0;
  int n = 0;       // tokens
  int groups = 0;  // of 16 tokens, padded
  const uint16_t* k_halves = nullptr;
  const uint16_t* v_halves = nullptr;
  const SubsetMasks* k_subsets = nullptr;  // of sides on the trellis grid
  const SubsetMasks* v_subsets = nullptr;
};

template <int bits, bool trellis, int n_rows, int quad = 0>
HWY_INLINE void score_quads(Vi* sums, const LevelTable& table, Vu8 block, const BlockMasks& masks, int part,
                            const RowWork* rows, int first_quad) {
  const Levels levels = widen(unpack<bits, trellis, quad>(table, block, masks, part));
  for (int r = 0; r < n_rows; ++r) sums[r] = dot_key(sums[r], levels, rows[r].q_quads[first_quad + quad]);
  if constexpr (quad + 1 < kQuads<bits>)
    score_quads<bits, trellis, n_rows, quad + 1>(sums, table, block, masks, part, rows, first_quad);
}

// Scores of a band: p is set to the mean's score and the band's, or the band's is added to it.
template <int bits, bool trellis, int n_rows, bool add>
HWY_NOINLINE void score_codes(const TileWork& tile, const TileBand& band, RowWork* rows) {
  const F32 d;
  const LevelTable table = level_table<bits, trellis>(*band.book, kKeyOffset);
  const int n_blocks = band.n_dims / (4 * kQuads<bits>);
  for (int g = 0; g < tile.groups; ++g) {
    for (int part = 0; part < kParts; ++part) {
      Vi sums[n_rows];
      for (int r = 0; r < n_rows; ++r) sums[r] = hn::Set(I32(), -rows[r].q_bias);
      const uint8_t* low = band.codes.low + static_cast<size_t>(g) * n_blocks * kBlock + part * kPartBytes;
      BlockMasks masks;
      if constexpr (bits == 3 && !trellis)
        masks = {band.codes.high + static_cast<size_t>(g) * n_blocks * (8 * kQuads<bits>), 8};
      if constexpr (trellis) {
        const size_t at = subset_place<true>(*tile.k_subsets, static_cast<size_t>(g), band.first_dim);
        masks = {nullptr, 0, tile.k_subsets->bit[0] + at, tile.k_subsets->bit[1] + at, 1};
      }
      for (int b = 0; b < n_blocks; ++b) {
        score_quads<bits, trellis, n_rows>(sums, table, load_block(low), masks, part, rows, b * kQuads<bits>);
        low += kBlock;
        if constexpr (bits == 3 && !trellis) masks.high += 8 * kQuads<bits>;
        if constexpr (trellis) {
          masks.bit0 += kQuads<bits>;
          masks.bit1 += kQuads<bits>;
        }
      }
      const int at = g * 16 + part * kLanes;
      const Vf k_scale = load_scales(band.scales, band.byte_scales, at);
      for (int r = 0; r < n_rows; ++r) {
        const Vf dot = hn::Mul(hn::ConvertTo(d, sums[r]), hn::Set(d, rows[r].q_factor));
        const Vf before = add ? hn::Load(d, rows[r].p + at) : hn::Set(d, rows[r].mean);
        hn::Store(hn::Add(hn::Mul(dot, k_scale), before), d, rows[r].p + at);
      }
    }
  }
}

inline void score_offsets(const TileWork& tile, const uint16_t* offsets, RowWork& row) {
  const F32 d;
  const Vf factor = hn::Set(d, row.per_offset);
  for (int t = 0; t < tile.groups * 16; t += kLanes)
    hn::Store(hn::Add(hn::Mul(load_halves(offsets + t), factor), hn::Load(d, row.p + t)), d, row.p + t);
}

// Vectors of 16-bit numbers converted together, to hide the latency of the sums.
constexpr int kHalfVectors = kLanes == 16 ? 4 : 2;

template <int n_rows, int n_vectors>
HWY_INLINE void score_half_vectors(const TileWork& tile, RowWork* rows, int vector) {
  const F32 d;
  Vf sums[n_rows][n_vectors];
  const uint16_t* from[n_vectors];
  for (int i = 0; i < n_vectors; ++i) {
    const int group = (vector + i) / kParts;
    from[i] = tile.k_halves + static_cast<size_t>(group) * tile.head_dim * 16 + (vector + i) % kParts * kLanes;
    for (int r = 0; r < n_rows; ++r) sums[r][i] = hn::Zero(d);
  }
  for (int j = 0; j < tile.head_dim; ++j) {
    Vf k[n_vectors];
    for (int i = 0; i < n_vectors; ++i) k[i] = load_halves(from[i] + static_cast<size_t>(j) * 16);
    for (int r = 0; r < n_rows; ++r) {
      const Vf q = hn::Set(d, rows[r].q[j]);
      for (int i = 0; i < n_vectors; ++i) sums[r][i] = hn::MulAdd(q, k[i], sums[r][i]);
    }
  }
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < n_vectors; ++i) {
      const Vf scaled = hn::Mul(sums[r][i], hn::Set(d, tile.scale));
      hn::Store(hn::Add(scaled, hn::Set(d, rows[r].mean)), d, rows[r].p + (vector + i) * kLanes);
    }
}

template <int n_rows>
HWY_NOINLINE void score_halves(const TileWork& tile, RowWork* rows) {
  const int n_vectors = tile.groups * kParts;
  int vector = 0;
  for (; vector + kHalfVectors <= n_vectors; vector += kHalfVectors)
    score_half_vectors<n_rows, kHalfVectors>(tile, rows, vector);
  for (; vector < n_vectors; ++vector) score_half_vectors<n_rows, 1>(tile, rows, vector);
}

template <int bits, bool trellis, int n_rows, int quad = 0>
HWY_INLINE void value_quads(Vi* sums, const LevelTable& table, Vu8 block, const BlockMasks& masks, int part,
                            const RowWork* rows, int first_quad) {
  const Levels levels = widen(unpack<bits, trellis, quad>(table, block, masks, part));
  for (int r = 0; r < n_rows; ++r) sums[r] = dot_value(sums[r], levels, rows[r].w_quads[first_quad + quad]);
  if constexpr (quad + 1 < kQuads<bits>)
    value_quads<bits, trellis, n_rows, quad + 1>(sums, table, block, masks, part, rows, first_quad);
}

template <int bits, bool trellis, int n_rows>
HWY_NOINLINE void add_codes(const TileWork& tile, const TileBand& band, RowWork* rows) {
  const F32 d;
  const LevelTable table = level_table<bits, trellis>(*band.book, 0);
  const int chunks = band.n_dims / 16;
  const int n_blocks = tile.groups * 4 / kQuads<bits>;
  const size_t mask_step = static_cast<size_t>(chunks) * 8;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    for (int part = 0; part < kParts; ++part) {
      Vi sums[n_rows];
      for (int r = 0; r < n_rows; ++r) sums[r] = hn::Zero(I32());
      const uint8_t* low = band.codes.low + static_cast<size_t>(chunk) * kBlock + part * kPartBytes;
      BlockMasks masks;
      if constexpr (bits == 3 && !trellis) masks = {band.codes.high + static_cast<size_t>(chunk) * 8, mask_step};
      if constexpr (trellis) {
        const SubsetMasks& subsets = *tile.v_subsets;
        const size_t at = subset_place<false>(subsets, 0, band.first_dim + chunk * 16);
        masks = {nullptr, 0, subsets.bit[0] + at, subsets.bit[1] + at, subsets.pitch};
      }
      for (int b = 0; b < n_blocks; ++b) {
        value_quads<bits, trellis, n_rows>(sums, table, load_block(low), masks, part, rows, b * kQuads<bits>);
        low += static_cast<size_t>(chunks) * kBlock;
        if constexpr (bits == 3 && !trellis) masks.high += mask_step * kQuads<bits>;
        if constexpr (trellis) {
          masks.bit0 += masks.step * kQuads<bits>;
          masks.bit1 += masks.step * kQuads<bits>;
        }
      }
      for (int r = 0; r < n_rows; ++r) {
        float* acc = rows[r].acc + band.first_dim + chunk * 16 + part * kLanes;
        const Vf added = hn::Mul(hn::ConvertTo(d, sums[r]), hn::Set(d, rows[r].w_step * band.book->unit));
        hn::StoreU(hn::Add(hn::LoadU(d, acc), added), d, acc);
      }
    }
  }
}

// Adds sum of weight times offset to all dims.
inline void add_offsets(const TileWork& tile, const uint16_t* offsets, const RowWork& row) {
  const F32 d;
  Vf sums[kParts];
  for (int i = 0; i < kParts; ++i) sums[i] = hn::Zero(d);
  for (int t = 0; t < tile.groups * 16; t += 16)
    for (int i = 0; i < kParts; ++i) {
      const int at = t + i * kLanes;
      sums[i] = hn::Add(sums[i], hn::Mul(hn::Load(d, row.p + at), load_halves(offsets + at)));
    }
  const Vf offset = hn::Set(d, fold(sums, FoldSum()));
  for (int j = 0; j < tile.head_dim; j += kLanes)
    hn::StoreU(hn::Add(hn::LoadU(d, row.acc + j), offset), d, row.acc + j);
}

template <int n_rows, int n_vectors>
HWY_INLINE void add_half_vectors(const TileWork& tile, RowWork* rows, int dim) {
  const F32 d;
  Vf sums[n_rows][n_vectors];
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < n_vectors; ++i) sums[r][i] = hn::LoadU(d, rows[r].acc + dim + i * kLanes);
  for (int t = 0; t < tile.n; ++t) {
    const uint16_t* from = tile.v_halves + static_cast<size_t>(t) * tile.head_dim + dim;
    Vf v[n_vectors];
    for (int i = 0; i < n_vectors; ++i) v[i] = load_halves(from + i * kLanes);
    for (int r = 0; r < n_rows; ++r) {
      const Vf p = hn::Set(d, rows[r].p[t]);
      for (int i = 0; i < n_vectors; ++i) sums[r][i] = hn::MulAdd(p, v[i], sums[r][i]);
    }
  }
  for (int r = 0; r < n_rows; ++r)
    for (int i = 0; i < n_vectors; ++i) hn::StoreU(sums[r][i], d, rows[r].acc + dim + i * kLanes);
}

template <int n_rows>
HWY_NOINLINE void add_halves(const TileWork& tile, RowWork* rows) {
  constexpr int kStep = kHalfVectors * kLanes;
  int dim = 0;
  for (; dim + kStep <= tile.head_dim; dim += kStep) add_half_vectors<n_rows, kHalfVectors>(tile, rows, dim);
  for (; dim < tile.head_dim; dim += kLanes) add_half_vectors<n_rows, 1>(tile, rows, dim);
}

// The loop for a width, a grid and a number of rows.
template <int n_rows, bool add, bool trellis>
void score_band_on(const TileWork& tile, const TileBand& band, RowWork* rows) {
  switch (band.bits) {
    case 2:
      return score_codes<2, trellis, n_rows, add>(tile, band, rows);
    case 3:
      return score_codes<3, trellis, n_rows, add>(tile, band, rows);
    default:
      return score_codes<4, trellis, n_rows, add>(tile, band, rows);
  }
}

template <int n_rows, bool add>
void score_band(const TileWork& tile, const TileBand& band, RowWork* rows) {
  band.trellis ? score_band_on<n_rows, add, true>(tile, band, rows)
               : score_band_on<n_rows, add, false>(tile, band, rows);
}

template <int n_rows, bool trellis>
void add_band_on(const TileWork& tile, const TileBand& band, RowWork* rows) {
  switch (band.bits) {
    case 2:
      return add_codes<2, trellis, n_rows>(tile, band, rows);
    case 3:
      return add_codes<3, trellis, n_rows>(tile, band, rows);
    default:
      return add_codes<4, trellis, n_rows>(tile, band, rows);
  }
}

template <int n_rows>
void add_band(const TileWork& tile, const TileBand& band, RowWork* rows) {
  band.trellis ? add_band_on<n_rows, true>(tile, band, rows) : add_band_on<n_rows, false>(tile, band, rows);
}

}  // namespace recalld::kernels::HWY_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ATTEND_DECODE_ROWS_INL_H_
