// A tile of a page as f32: keys [head_dim][64 tokens], values [64 tokens][head_dim], as the matrix products of block
// attention want them. Tokens past the tile's end become 0. Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_EXPAND_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_EXPAND_TILE_INL_H_
#undef RECALLD_KERNELS_CPU_EXPAND_TILE_INL_H_
#else
#define RECALLD_KERNELS_CPU_EXPAND_TILE_INL_H_
#endif

#include "base/bytes.h"
#include "kernels/cpu/attend_codes-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES("avx512vnni")
#endif
namespace recalld::kernels::HWY_NAMESPACE {

// Byte `b` of each lane, sign-extended.
template <int b>
HWY_INLINE Vf byte_lanes(Vu8 levels) {
  const Vi lanes = hn::BitCast(I32(), levels);
  return hn::ConvertTo(F32(), hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * b>(lanes)));
}

template <int b>
HWY_INLINE void store_key_dim(Vu8 levels, Vf scale, float mean, float* to) {
  hn::Store(hn::MulAdd(byte_lanes<b>(levels), scale, hn::Set(F32(), mean)), F32(), to);
}

template <int bits, bool trellis, int quad = 0>
HWY_INLINE void expand_key_quads(const LevelTable& table, Vu8 block, const BlockMasks& masks, int part, Vf scale,
                                 const float* mean, float* to) {
  const Vu8 levels = unpack<bits, trellis, quad>(table, block, masks, part);
  store_key_dim<0>(levels, scale, mean[0], to);
  store_key_dim<1>(levels, scale, mean[1], to + kTileTokens);
  store_key_dim<2>(levels, scale, mean[2], to + 2 * kTileTokens);
  store_key_dim<3>(levels, scale, mean[3], to + 3 * kTileTokens);
  if constexpr (quad + 1 < kQuads<bits>)
    expand_key_quads<bits, trellis, quad + 1>(table, block, masks, part, scale, mean + 4, to + 4 * kTileTokens);
}

template <int bits, bool trellis>
HWY_NOINLINE void expand_key_codes(const TileBand& band, const SubsetMasks& subsets, const float* mean, int groups,
                                   float* to) {
  const LevelTable table = level_table<bits, trellis>(*band.book, 0);
  const int n_blocks = band.n_dims / (4 * kQuads<bits>);
  for (int g = 0; g < groups; ++g) {
    for (int part = 0; part < kParts; ++part) {
      const int at = g * 16 + part * kLanes;
      const Vf scale = hn::Mul(load_scales(band.scales, band.byte_scales, at), hn::Set(F32(), band.book->unit));
      for (int b = 0; b < n_blocks; ++b) {
        const size_t block = static_cast<size_t>(g) * n_blocks + b;
        const int dim = b * 4 * kQuads<bits>;
        BlockMasks masks{band.codes.high + block * (8 * kQuads<bits>), 8};
        if constexpr (trellis) {
          const size_t place = subset_place<true>(subsets, static_cast<size_t>(g), band.first_dim + dim);
          masks = {nullptr, 0, subsets.bit[0] + place, subsets.bit[1] + place, 1};
        }
        expand_key_quads<bits, trellis>(table, load_block(band.codes.low + block * kBlock + part * kPartBytes), masks,
                                        part, scale, mean + dim, to + dim * kTileTokens + at);
      }
    }
  }
}

template <int bits, bool trellis, int quad = 0>
HWY_INLINE void expand_value_quads(const LevelTable& table, Vu8 block, const BlockMasks& masks, int part,
                                   const float* scales, int head_dim, float* to) {
  const F32 d;
  const Vu8 levels = unpack<bits, trellis, quad>(table, block, masks, part);
  hn::Store(hn::Mul(byte_lanes<0>(levels), hn::Set(d, scales[0])), d, to);
  hn::Store(hn::Mul(byte_lanes<1>(levels), hn::Set(d, scales[1])), d, to + head_dim);
  hn::Store(hn::Mul(byte_lanes<2>(levels), hn::Set(d, scales[2])), d, to + 2 * head_dim);
  hn::Store(hn::Mul(byte_lanes<3>(levels), hn::Set(d, scales[3])), d, to + 3 * head_dim);
  if constexpr (quad + 1 < kQuads<bits>)
    expand_value_quads<bits, trellis, quad + 1>(table, block, masks, part, scales + 4, head_dim, to + 4 * head_dim);
}

template <int bits, bool trellis>
HWY_NOINLINE void expand_value_codes(const TileBand& band, const SubsetMasks& subsets, int head_dim, int groups,
                                     float* to) {
  const LevelTable table = level_table<bits, trellis>(*band.book, 0);
  const int chunks = band.n_dims / 16;
  const int n_blocks = groups * 4 / kQuads<bits>;
  const size_t mask_step = static_cast<size_t>(chunks) * 8;
  alignas(64) float scale[kTileTokens];
  for (int t = 0; t < groups * 16; t += kLanes)
    hn::Store(hn::Mul(load_scales(band.scales, band.byte_scales, t), hn::Set(F32(), band.book->unit)), F32(),
              scale + t);
  for (int b = 0; b < n_blocks; ++b) {
    const int token = b * 4 * kQuads<bits>;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const uint8_t* low = band.codes.low + (static_cast<size_t>(b) * chunks + chunk) * kBlock;
      BlockMasks masks{band.codes.high + static_cast<size_t>(b) * kQuads<bits> * mask_step + chunk * 8, mask_step};
      if constexpr (trellis) {
        const auto row = static_cast<size_t>(b) * kQuads<bits>;
        const size_t place = subset_place<false>(subsets, row, band.first_dim + chunk * 16);
        masks = {nullptr, 0, subsets.bit[0] + place, subsets.bit[1] + place, subsets.pitch};
      }
      for (int part = 0; part < kParts; ++part)
        expand_value_quads<bits, trellis>(table, load_block(low + part * kPartBytes), masks, part, scale + token,
                                          head_dim, to + token * head_dim + chunk * 16 + part * kLanes);
    }
  }
}

inline void expand_key_halves(const uint16_t* halves, const float* mean, int head_dim, int groups, float* to) {
  const F32 d;
  for (int g = 0; g < groups; ++g)
    for (int j = 0; j < head_dim; ++j)
      for (int lane = 0; lane < 16; lane += kLanes)
        hn::Store(
            hn::Add(load_halves(halves + (static_cast<size_t>(g) * head_dim + j) * 16 + lane), hn::Set(d, mean[j])), d,
            to + j * kTileTokens + g * 16 + lane);
}

inline void expand_value_halves(const uint16_t* halves, int head_dim, int n, float* to) {
  for (int i = 0; i < n * head_dim; i += kLanes) hn::Store(load_halves(halves + i), F32(), to + i);
}

template <bool trellis>
void expand_key_band(const TileBand& band, const SubsetMasks& subsets, const float* mean, int groups, float* to) {
  if (band.bits == 4) return expand_key_codes<4, trellis>(band, subsets, mean, groups, to);
  if (band.bits == 3) return expand_key_codes<3, trellis>(band, subsets, mean, groups, to);
  return expand_key_codes<2, trellis>(band, subsets, mean, groups, to);
}

template <bool trellis>
void expand_value_band(const TileBand& band, const SubsetMasks& subsets, int head_dim, int groups, float* to) {
  if (band.bits == 4) return expand_value_codes<4, trellis>(band, subsets, head_dim, groups, to);
  if (band.bits == 3) return expand_value_codes<3, trellis>(band, subsets, head_dim, groups, to);
  return expand_value_codes<2, trellis>(band, subsets, head_dim, groups, to);
}

// mean: [head_dim], zeros for none. k: [head_dim][kTileTokens]; columns past the padded end are zeroed, so that scores
// there are numbers (they are masked).
inline void expand_keys(const PageSlice& page, int token, int groups, const float* mean, int head_dim, float* k) {
  if (groups * 16 < kTileTokens) std::fill_n(k, head_dim * kTileTokens, 0.0F);
  if (page.k_format.halves()) return expand_key_halves(halves_at(page.k, head_dim, token), mean, head_dim, groups, k);
  SubsetMasks subsets;
  key_subsets(page, token, groups, subsets);
  int dim = 0;
  for (int index = 0; index < page.k_format.stored_bands(); ++index) {
    const TileBand band = key_band(page, token, index);
    float* to = k + dim * kTileTokens;
    band.trellis ? expand_key_band<true>(band, subsets, mean + dim, groups, to)
                 : expand_key_band<false>(band, subsets, mean + dim, groups, to);
    dim += band.n_dims;
  }
  for (; dim < head_dim; ++dim) std::fill_n(k + dim * kTileTokens, groups * 16, mean[dim]);
  if (page.k_offset == nullptr) return;
  const F32 d;
  for (int t = 0; t < groups * 16; t += kLanes) {
    const Vf offset = load_halves(page.k_offset + token + t);
    for (float* at = k + t; at < k + head_dim * kTileTokens; at += kTileTokens)
      hn::Store(hn::Add(hn::Load(d, at), offset), d, at);
  }
}

// v: [kTileTokens][head_dim].
inline void expand_values(const PageSlice& page, int token, int n, int head_dim, float* v) {
  const int groups = padded_tokens(n) / kTokenGroup;
  if (page.v_format.halves()) {
    expand_value_halves(halves_at(page.v, head_dim, token), head_dim, n, v);
  } else {
    SubsetMasks subsets;
    value_subsets(page, token, groups, subsets);
    int dim = 0;
    for (int index = 0; index < page.v_format.stored_bands(); ++index) {
      const TileBand band = value_band(page, token, index);
      band.trellis ? expand_value_band<true>(band, subsets, head_dim, groups, v + dim)
                   : expand_value_band<false>(band, subsets, head_dim, groups, v + dim);
      dim += band.n_dims;
    }
    if (dim < head_dim)
      for (int t = 0; t < n; ++t) std::fill_n(v + t * head_dim + dim, head_dim - dim, 0.0F);
  }
  if (page.v_offset != nullptr) {
    const F32 d;
    for (int t = 0; t < n; ++t) {
      const Vf offset = hn::Set(d, half_to_float(page.v_offset[token + t]));
      for (float* at = v + t * head_dim; at < v + (t + 1) * head_dim; at += kLanes)
        hn::Store(hn::Add(hn::Load(d, at), offset), d, at);
    }
  }
  std::fill(v + n * head_dim, v + kTileTokens * head_dim, 0.0F);
}

}  // namespace recalld::kernels::HWY_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_EXPAND_TILE_INL_H_
