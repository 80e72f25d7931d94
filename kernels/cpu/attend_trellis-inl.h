// Which subset each number of a tile takes its level from (kernels/trellis.h): two bits of each, made from the path
// bits of all dims at once, as masks of 64 numbers like those of 3-bit codes (kernels/layout.h). Included once per
// target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ATTEND_TRELLIS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ATTEND_TRELLIS_INL_H_
#undef RECALLD_KERNELS_CPU_ATTEND_TRELLIS_INL_H_
#else
#define RECALLD_KERNELS_CPU_ATTEND_TRELLIS_INL_H_
#endif

#include <cstring>

#include "kernels/cpu/attend_math-inl.h"
#include "kernels/cpu/page_tile.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {

// Rows of masks: of K one for each group of 16 tokens, of V one for each 4 tokens. A row has the masks of all stored
// dims in order, of K 4 dims each, of V 16, behind one that is 0: the path before the first dim.
struct SubsetMasks {
  static constexpr int kMostRows = kTileTokens / 4;
  static constexpr size_t kRoom = static_cast<size_t>(kMostRows) * (kMaxHeadDim / 16 + 1) + 8;
  static_assert(kRoom >= static_cast<size_t>(kTileTokens) / 16 * (kMaxHeadDim / 4 + 1) + 8);

  size_t pitch = 0;  // masks of a row
  alignas(64) uint64_t path[kRoom];
  alignas(64) uint64_t bit[2][kRoom];  // of the subset: low, high
};

// The path bits of quad `quad` of a block of codes, which are their highest.
template <int bits, int quad>
HWY_INLINE void store_path_bits(Vu8 block, int part, uint64_t* mask) {
  static_assert(bits == 4 || bits == 2);
  constexpr auto kBit = static_cast<uint8_t>(1 << (bits * quad + bits - 1));
  const U8 d;
  hn::StoreMaskBits(d, hn::TestBit(block, hn::Set(d, kBit)), reinterpret_cast<uint8_t*>(mask) + part * (8 / kParts));
}

// One block's masks, `step` apart.
template <int bits>
HWY_INLINE void store_block_paths(const uint8_t* block, uint64_t* masks, size_t step) {
  for (int part = 0; part < kParts; ++part) {
    const Vu8 codes = hn::LoadU(U8(), block + part * (64 / kParts));
    store_path_bits<bits, 0>(codes, part, masks);
    store_path_bits<bits, 1>(codes, part, masks + step);
    if constexpr (bits == 2) {
      store_path_bits<bits, 2>(codes, part, masks + 2 * step);
      store_path_bits<bits, 3>(codes, part, masks + 3 * step);
    }
  }
}

inline void key_paths(const TileBand& band, int groups, SubsetMasks& masks) {
  const auto n_masks = static_cast<size_t>(band.n_dims / 4);
  for (int g = 0; g < groups; ++g) {
    uint64_t* row = masks.path + static_cast<size_t>(g) * masks.pitch + 1 + band.first_dim / 4;
    if (band.bits == 3) {
      std::memcpy(row, band.codes.high + static_cast<size_t>(g) * n_masks * 8, n_masks * 8);
      continue;
    }
    const size_t quads = band.bits == 4 ? 2 : 4, blocks = n_masks / quads;
    for (size_t b = 0; b < blocks; ++b) {
      const uint8_t* block = band.codes.low + (static_cast<size_t>(g) * blocks + b) * 64;
      band.bits == 4 ? store_block_paths<4>(block, row + b * 2, 1) : store_block_paths<2>(block, row + b * 4, 1);
    }
  }
}

inline void value_paths(const TileBand& band, int groups, SubsetMasks& masks) {
  const auto chunks = static_cast<size_t>(band.n_dims / 16);
  uint64_t* first = masks.path + 1 + band.first_dim / 16;
  const int rows = groups * 4, quads = band.bits == 4 ? 2 : 4;
  if (band.bits == 3) {
    for (int row = 0; row < rows; ++row)
      std::memcpy(first + static_cast<size_t>(row) * masks.pitch,
                  band.codes.high + static_cast<size_t>(row) * chunks * 8, chunks * 8);
    return;
  }
  for (int b = 0; b < rows / quads; ++b) {
    uint64_t* row = first + static_cast<size_t>(b * quads) * masks.pitch;
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      const uint8_t* block = band.codes.low + (static_cast<size_t>(b) * chunks + chunk) * 64;
      band.bits == 4 ? store_block_paths<4>(block, row + chunk, masks.pitch)
                     : store_block_paths<2>(block, row + chunk, masks.pitch);
    }
  }
}

// The path `dims` dims before: of K within 4 dims of 16 tokens, of V within 16 dims of 4 tokens.
template <bool key, int dims, class V>
HWY_INLINE V path_before(V now, V before) {
  const hn::DFromV<V> d;
  if constexpr (!key) return hn::Or(hn::ShiftLeft<4 * dims>(now), hn::ShiftRight<64 - 4 * dims>(before));
  if constexpr (dims == 4) return before;
  constexpr uint64_t kUpper = ((uint64_t{0xf} << dims) & 0xf) * 0x1111'1111'1111'1111U;
  return hn::Or(hn::And(hn::ShiftLeft<dims % 4>(now), hn::Set(d, kUpper)),
                hn::AndNot(hn::Set(d, kUpper), hn::ShiftRight<4 - dims % 4>(before)));
}

template <bool key>
HWY_INLINE void subset_bits(size_t rows, SubsetMasks& masks) {
  const hn::CappedTag<uint64_t, 8> d;
  const size_t end = rows * masks.pitch;
  for (size_t row = 0; row < rows; ++row) masks.path[row * masks.pitch] = 0;
  // What comes of the zeros between rows is not read.
  for (size_t i = 1; i < end; i += hn::Lanes(d)) {
    const auto now = hn::LoadU(d, masks.path + i), before = hn::LoadU(d, masks.path + i - 1);
    hn::StoreU(path_before<key, 2>(now, before), d, masks.bit[0] + i);
    const auto high = hn::Xor(now, path_before<key, 1>(now, before));
    hn::StoreU(hn::Xor(high, path_before<key, 4>(now, before)), d, masks.bit[1] + i);
  }
}

// groups: of 16 tokens, padded; token: the tile's first.
inline void key_subsets(const PageSlice& page, int token, int groups, SubsetMasks& masks) {
  if (page.k_format.grid != Grid::kTrellis) return;
  masks.pitch = static_cast<size_t>(stored_dims(page.k_format)) / 4 + 1;
  for (int index = 0; index < page.k_format.stored_bands(); ++index)
    key_paths(key_band(page, token, index), groups, masks);
  subset_bits<true>(static_cast<size_t>(groups), masks);
}

inline void value_subsets(const PageSlice& page, int token, int groups, SubsetMasks& masks) {
  if (page.v_format.grid != Grid::kTrellis) return;
  masks.pitch = static_cast<size_t>(stored_dims(page.v_format)) / 16 + 1;
  for (int index = 0; index < page.v_format.stored_bands(); ++index)
    value_paths(value_band(page, token, index), groups, masks);
  subset_bits<false>(static_cast<size_t>(groups) * 4, masks);
}

// The masks beside one block of codes.
struct BlockMasks {
  const uint8_t* high = nullptr;   // of 3-bit codes: those of its first quad
  size_t high_step = 0;            // bytes from one quad's to the next's
  const uint64_t* bit0 = nullptr;  // of subsets
  const uint64_t* bit1 = nullptr;
  size_t step = 0;  // masks from one quad's to the next's
};

// Where the masks of a band's dim `dim` in row `row` begin.
template <bool key>
HWY_INLINE size_t subset_place(const SubsetMasks& masks, size_t row, int dim) {
  return row * masks.pitch + 1 + static_cast<size_t>(dim / (key ? 4 : 16));
}

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ATTEND_TRELLIS_INL_H_
