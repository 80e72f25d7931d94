// A token group's transformed numbers to codes, scales and offsets. Included once per target by foreach_target.
#if defined(RECALLD_KERNELS_CPU_ENCODE_QUANTISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RECALLD_KERNELS_CPU_ENCODE_QUANTISE_INL_H_
#undef RECALLD_KERNELS_CPU_ENCODE_QUANTISE_INL_H_
#else
#define RECALLD_KERNELS_CPU_ENCODE_QUANTISE_INL_H_
#endif

#include <cstring>

#include "kernels/cpu/encode_pack-inl.h"
#include "kernels/cpu/encode_trellis-inl.h"

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

// The positive half of a codebook. step[i] adds, in one integer, the rise of the level and, 8 bits up, one to the rank.
struct PositiveHalf {
  int bits;
  float boundary[7];
  int32_t step[7];
  int32_t first_level;
  float unit;
};

inline PositiveHalf positive_half(Grid grid, int bits) {
  const Codebook& book = codebook(grid, bits);
  PositiveHalf table{};
  table.bits = bits;
  table.unit = book.unit;
  if (grid == Grid::kTrellis) return table;  // the search has its own
  const int half = 1 << (book.bits - 1);
  for (int i = 0; i + 1 < half; ++i) {
    table.boundary[i] = book.boundaries[half + i];
    table.step[i] = book.levels[half + i + 1] - book.levels[half + i] + 256;
  }
  table.first_level = book.levels[half];
  return table;
}

// Codes of the tokens of some lanes go where packing wants them: keep(first, dim, lane, code), dim counted from the
// first of a band.
struct KeyWords {
  CodeWords words;
  int head_dim;

  HWY_INLINE void keep(int first, int dim, size_t lane, LaneInts code) {
    const hn::RebindToSigned<LaneTag> di;
    auto* at = reinterpret_cast<int32_t*>(words.word) + static_cast<size_t>(first / 4 + dim / 4) * kTokens + lane;
    const auto shifted = hn::ShiftLeftSame(code, dim % 4 * 8);
    hn::Store(dim % 4 == 0 ? shifted : hn::Or(hn::Load(di, at), shifted), di, at);
  }

  void pack(int bits, int first, int n_dims, const GroupPlace& at, uint8_t* codes) const {
    Words from = words.word + static_cast<size_t>(first) / 4 * kTokens;
    const auto dims = static_cast<size_t>(n_dims);
    if (bits == 4) return pack_keys<4>(from, dims, at, codes);
    if (bits == 3) return pack_keys<3>(from, dims, at, codes);
    return pack_keys<2>(from, dims, at, codes);
  }
};

struct ValueWords {
  CodeWords words;
  int head_dim;

  HWY_INLINE void keep(int first, int dim, size_t lane, LaneInts code) {
    const hn::Rebind<uint8_t, LaneTag> db;
    alignas(16) uint32_t quads[kTokens / 4];
    hn::Store(hn::DemoteTo(db, code), db, reinterpret_cast<uint8_t*>(quads));
    for (size_t i = 0; i < hn::Lanes(LaneTag()) / 4; ++i)
      words.word[(lane / 4 + i) * static_cast<size_t>(head_dim) + static_cast<size_t>(first + dim)] = quads[i];
  }

  void pack(int bits, int first, int n_dims, const GroupPlace& at, uint8_t* codes) const {
    Words from = words.word + first;
    const auto pitch = static_cast<size_t>(head_dim), dims = static_cast<size_t>(n_dims);
    if (bits == 4) return pack_values<4>(from, pitch, dims, at, codes);
    if (bits == 3) return pack_values<3>(from, pitch, dims, at, codes);
    return pack_values<2>(from, pitch, dims, at, codes);
  }
};

// Codes of n_dims dims from `first` on.
template <int kBits, class Side>
HWY_INLINE LevelSums quantise_dims(const PositiveHalf& table, int first, int n_dims, const Group& group, size_t lane,
                                   LaneVec to_unit, LaneInts valid, Side& side) {
  const LaneTag d;
  const hn::RebindToSigned<LaneTag> di;
  constexpr int kHalf = 1 << (kBits - 1);
  const auto zero = hn::Zero(d);
  LevelSums sums{zero, zero};
  const float* from = group.value + static_cast<size_t>(first) * kTokens + lane;
  for (int dim = 0; dim < n_dims; ++dim) {
    const auto y = hn::Load(d, from + static_cast<size_t>(dim) * kTokens);
    const auto z = hn::Mul(y, to_unit);
    const auto size = hn::Abs(z);
    auto packed = hn::Set(di, table.first_level);
    for (int i = 0; i < kHalf - 1; ++i) {
      const auto above = hn::RebindMask(di, hn::Ge(size, hn::Set(d, table.boundary[i])));
      packed = hn::Add(packed, hn::IfThenElseZero(above, hn::Set(di, table.step[i])));
    }
    const auto rank = hn::ShiftRight<8>(packed);
    const auto magnitude = hn::ConvertTo(d, hn::And(packed, hn::Set(di, 255)));
    const auto negative = hn::Lt(z, zero);
    const auto level = hn::IfThenElse(negative, hn::Neg(magnitude), magnitude);
    sums.dot = hn::Add(sums.dot, hn::Mul(y, level));
    sums.square = hn::Add(sums.square, hn::Mul(magnitude, magnitude));
    const auto code = hn::IfThenElse(hn::RebindMask(di, negative), hn::Sub(hn::Set(di, kHalf - 1), rank),
                                     hn::Add(hn::Set(di, kHalf), rank));
    side.keep(first, dim, lane, hn::And(code, valid));
  }
  return sums;
}

template <class Side>
HWY_INLINE LevelSums quantise_band(const PositiveHalf& table, int first, int n_dims, const Group& group, size_t lane,
                                   LaneVec to_unit, LaneInts valid, Side& side) {
  if (table.bits == 4) return quantise_dims<4>(table, first, n_dims, group, lane, to_unit, valid, side);
  if (table.bits == 3) return quantise_dims<3>(table, first, n_dims, group, lane, to_unit, valid, side);
  return quantise_dims<2>(table, first, n_dims, group, lane, to_unit, valid, side);
}

HWY_INLINE LaneVec scale_by_rule(ScaleRule rule, LaneVec energy, const LevelSums& sums, LaneVec unit) {
  switch (rule) {
    case ScaleRule::kMatched:
      return hn::Div(hn::Sqrt(hn::Div(energy, sums.square)), unit);
    case ScaleRule::kUnbiased:
      return hn::Div(energy, hn::Mul(sums.dot, unit));
    case ScaleRule::kLeastSquares:
      break;
  }
  return hn::Div(sums.dot, hn::Mul(sums.square, unit));
}

// Lanes of the first n tokens.
HWY_INLINE LaneInts valid_lanes(size_t lane, int n) {
  const hn::RebindToSigned<LaneTag> di;
  return hn::VecFromMask(di, hn::Lt(hn::Iota(di, static_cast<int32_t>(lane)), hn::Set(di, n)));
}

// Scales of a token group, as the format keeps them.
inline void store_scales(const uint16_t (&halves)[kTokens], bool bytes, uint8_t* scales) {
  if (!bytes) {
    std::memcpy(scales, halves, sizeof halves);
    return;
  }
  for (size_t i = 0; i < kTokens; ++i) scales[i] = scale_byte_of_half(halves[i]);
}

// Codes and scale of bands that share one, of the first n tokens (others 0). square: over these bands.
template <class Side>
void quantise_group(const SideFormat& format, const PositiveHalf* tables, ScaleRule rule, int first_band, int end_band,
                    int n, const Group& group, const float* square, uint8_t* scales, Side& side) {
  const LaneTag d;
  const int begin = band_place(format, 0, first_band).first_dim;
  const int dims = band_place(format, 0, end_band).first_dim - begin;
  const float unit = tables[first_band].unit;
  const bool trellis = format.grid == Grid::kTrellis;
  TrellisPaths paths;
  alignas(64) uint16_t halves[kTokens];
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    const auto valid = valid_lanes(lane, n);
    const auto energy = hn::Load(d, square + lane);
    const auto not_zero = hn::Ge(energy, hn::Set(d, kSmallestSquare));
    const auto to_unit = hn::IfThenElseZero(not_zero, hn::Sqrt(hn::Div(hn::Set(d, static_cast<float>(dims)), energy)));
    const auto code_band = [&](int band, int first) {
      const int n_dims = format.bands[band].n_dims;
      return trellis ? paths.code_band(trellis_grid(format.bands[band].bits), first, n_dims, group, lane, valid, side)
                     : quantise_band(tables[band], first, n_dims, group, lane, to_unit, valid, side);
    };
    if (trellis) paths.search(format, group, lane, to_unit);
    LevelSums sums = code_band(first_band, begin);
    int dim = begin + format.bands[first_band].n_dims;
    for (int band = first_band + 1; band < end_band; dim += format.bands[band].n_dims, ++band) {
      const LevelSums more = code_band(band, dim);
      const float ratio = tables[band].unit / unit;
      sums.dot = hn::Add(sums.dot, hn::Mul(more.dot, hn::Set(d, ratio)));
      sums.square = hn::Add(sums.square, hn::Mul(more.square, hn::Set(d, ratio * ratio)));
    }
    auto scale = scale_by_rule(rule, energy, sums, hn::Set(d, unit));
    scale = hn::IfThenElseZero(not_zero, hn::Min(scale, hn::Set(d, kLargestHalf)));
    store_halves(d, hn::And(scale, hn::BitCast(d, valid)), halves + lane);
  }
  store_scales(halves, format.byte_scales, scales);
}

// The number of some rank among the sizes of each lane's dims: the largest that has at most `rank` numbers below it,
// found bit by bit. Floats of one sign order like integers.
HWY_INLINE LaneVec size_of_rank(int rank, int head_dim, const Group& group, size_t lane) {
  const LaneTag d;
  const hn::RebindToSigned<LaneTag> di;
  auto found = hn::Zero(di);
  for (int bit = 30; bit >= 0; --bit) {
    const auto tried = hn::Or(found, hn::Set(di, int32_t{1} << bit));
    auto below = hn::Zero(di);
    const float* at = group.value + lane;
    for (int dim = 0; dim < head_dim; ++dim, at += kTokens) {
      const auto size = hn::BitCast(di, hn::Abs(hn::Load(d, at)));
      below = hn::Sub(below, hn::VecFromMask(di, hn::Lt(size, tried)));
    }
    found = hn::IfThenElse(hn::Gt(below, hn::Set(di, rank)), found, tried);
  }
  return hn::BitCast(d, found);
}

// Codes, scale and offset on the uniform grid.
template <class Side>
void quantise_uniformly(const EncodeSpec& spec, int n, const Group& group, uint16_t* scales, uint16_t* offsets,
                        Side& side) {
  const LaneTag d;
  const hn::RebindToSigned<LaneTag> di;
  const auto top = hn::Set(d, static_cast<float>((1 << spec.format.bands[0].bits) - 1));
  for (size_t lane = 0; lane < kTokens; lane += hn::Lanes(d)) {
    const auto valid = valid_lanes(lane, n);
    const auto bound = size_of_rank(clip_rank(spec.clip, spec.head_dim), spec.head_dim, group, lane);
    const auto least = hn::Neg(bound);
    auto low = spec.format.offsets ? bound : least, high = hn::Neg(low);
    const auto clipped = [&](int dim) {
      return hn::Min(hn::Max(hn::Load(d, group.value + static_cast<size_t>(dim) * kTokens + lane), least), bound);
    };
    for (int dim = 0; dim < spec.head_dim && spec.format.offsets; ++dim) {
      low = hn::Min(low, clipped(dim));
      high = hn::Max(high, clipped(dim));
    }
    const auto scale = hn::Div(hn::Max(hn::Sub(high, low), hn::Set(d, 1e-8F)), top);
    for (int dim = 0; dim < spec.head_dim; ++dim) {
      const auto steps = hn::Div(hn::Sub(clipped(dim), low), scale);
      side.keep(0, dim, lane, hn::And(hn::ConvertTo(di, hn::Add(steps, hn::Set(d, 0.5F))), valid));
    }
    const auto kept = hn::BitCast(d, valid);
    store_halves(d, hn::And(hn::Min(scale, hn::Set(d, kLargestHalf)), kept), scales + lane);
    if (offsets == nullptr) continue;
    const auto offset = hn::Add(low, hn::Mul(scale, hn::Mul(hn::Set(d, 0.5F), top)));
    store_halves(d, hn::And(safe(d, offset), kept), offsets + lane);
  }
}

#endif

}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // RECALLD_KERNELS_CPU_ENCODE_QUANTISE_INL_H_
