// Decode attention: few rows, so the page's bytes are the cost. Codes are multiplied as integers as they are; the
// order of the steps is that of reference::attend_decode.
#include <cstring>

#include "kernels/attend.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attend_decode.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET != HWY_SCALAR
#include "kernels/cpu/attend_decode_rows-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
HWY_PUSH_ATTRIBUTES("avx512vnni")
#endif
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

// No vectors to fill: the plain loops will do.
void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state, AttendScratch&) {
  reference::attend_decode(shape, queries, pages, state);
}

#else

// What a call keeps of its rows and of each variant of their queries, in one piece of scratch.
class DecodeRows {
 public:
  DecodeRows(const Rows& rows, std::span<const PageSlice> pages, AttendScratch& scratch) : rows_(rows) {
    int32_t n_variants = 0;
    for (const PageSlice& page : pages) n_variants = std::max(n_variants, page.variant + 1);
    const size_t variants = static_cast<size_t>(n_variants);
    const size_t entries = variants * rows.n_rows;
    quads_per_row_ = static_cast<size_t>(rows.shape.head_dim) / 4;
    const size_t quad_bytes = round_up(entries * quads_per_row_ * sizeof(Quad), 64);
    const size_t rounded_bytes = round_up(entries * sizeof(Rounded), 64);
    const size_t known_bytes = round_up(variants * sizeof(uint32_t), 64);
    const size_t score_bytes = round_up(rows.n_rows * sizeof(PageScore), 64);
    std::byte* base = scratch.reserve(quad_bytes + rounded_bytes + known_bytes + score_bytes + rows.n_rows);
    quads_ = reinterpret_cast<Quad*>(base);
    rounded_ = reinterpret_cast<Rounded*>(base + quad_bytes);
    known_ = reinterpret_cast<uint32_t*>(base + quad_bytes + rounded_bytes);
    scores_ = reinterpret_cast<PageScore*>(base + quad_bytes + rounded_bytes + known_bytes);
    bad_ = reinterpret_cast<uint8_t*>(base + quad_bytes + rounded_bytes + known_bytes + score_bytes);
    std::memset(known_, 0, variants * sizeof(uint32_t));
    std::memset(bad_, 0, rows.n_rows);
  }

  // Makes ready for the tiles of a page.
  void begin_page(const PageSlice& page) {
    const uint32_t cut = cut_of(page.k_format);
    uint32_t& known = known_[page.variant];
    if (known == 0)
      for (size_t row = 0; row < rows_.n_rows; ++row)
        if (!all_finite(rows_.q(page.variant, row), rows_.shape.head_dim)) bad_[row] = 1;
    if (known != cut && (known == 0 || !page.k_format.halves())) {
      for (size_t row = 0; row < rows_.n_rows; ++row) round_query(page, row);
      known = cut;
    }
    for (size_t row = 0; row < rows_.n_rows; ++row) {
      const float* q = rows_.q(page.variant, row);
      scores_[row].mean = page.k_mean == nullptr ? 0.0F : mean_score(q, page.k_mean);
      scores_[row].per_offset = page.k_offset == nullptr ? 0.0F : offset_score(q);
    }
  }

  void fill(const PageSlice& page, size_t row, RowWork& work) const {
    work.q = rows_.q(page.variant, row);
    work.mean = scores_[row].mean;
    work.per_offset = scores_[row].per_offset;
    work.acc = rows_.acc(page.space, row);
  }

  void fill_band(const PageSlice& page, size_t row, int index, const TileBand& band, RowWork& work) const {
    const size_t entry = static_cast<size_t>(page.variant) * rows_.n_rows + row;
    work.q_quads = quads_ + entry * quads_per_row_ + band.first_dim / 4;
    work.q_bias = rounded_[entry].band[index].bias;
    work.q_factor = rounded_[entry].band[index].scale * (rows_.shape.scale * band.book->unit);
  }

  bool bad(size_t row) const { return bad_[row] != 0; }

 private:
  struct Rounded {
    struct {
      float scale;
      int32_t bias;
    } band[kMaxBands];
  };
  struct PageScore {
    float mean, per_offset;
  };

  // Names how a format cuts the dims into bands; not 0.
  static uint32_t cut_of(const SideFormat& format) {
    uint32_t cut = 1;
    for (int band = 0; band < format.stored_bands(); ++band)
      cut |= static_cast<uint32_t>(format.bands[band].n_dims / 16) << (1 + 5 * band);
    return cut;
  }

  void round_query(const PageSlice& page, size_t row) {
    const SideFormat& format = page.k_format;
    for (int index = 0; index < format.stored_bands(); ++index)
      round_band(page, row, index, band_place(format, 0, index).first_dim, format.bands[index].n_dims);
  }

  void round_band(const PageSlice& page, size_t row, int index, int first, int n_dims) {
    const float* q = rows_.q(page.variant, row) + first;
    const size_t entry = static_cast<size_t>(page.variant) * rows_.n_rows + row;
    const bool finite = bad_[row] == 0;
    float largest = 0;
    for (int j = 0; j < n_dims; ++j) largest = std::max(largest, std::abs(q[j]));
    const QueryScale scale = finite ? query_scale(largest) : QueryScale();
    int8_t bytes[kMaxHeadDim];
    int32_t sum = 0;
    for (int j = 0; j < n_dims; ++j) {
      bytes[j] = finite ? static_cast<int8_t>(round_even(q[j] * scale.inverse)) : int8_t{0};
      sum += bytes[j];
    }
    Quad* quads = quads_ + entry * quads_per_row_ + first / 4;
    for (int j = 0; j < n_dims; j += 16) store_quads<16>(bytes + j, quads + j / 4);
    rounded_[entry].band[index] = {scale.scale, sum * kKeyOffset};
  }

  float mean_score(const float* q, const uint16_t* mean) const {
    const F32 d;
    Vf sums[kParts];
    for (int i = 0; i < kParts; ++i) sums[i] = hn::Zero(d);
    for (int j = 0; j < rows_.shape.head_dim; j += 16)
      for (int i = 0; i < kParts; ++i) {
        const int at = j + i * kLanes;
        sums[i] = hn::Add(sums[i], hn::Mul(hn::LoadU(d, q + at), load_halves(mean + at)));
      }
    return fold(sums, FoldSum()) * rows_.shape.scale;
  }

  float offset_score(const float* q) const {
    const F32 d;
    Vf sums[kParts];
    for (int i = 0; i < kParts; ++i) sums[i] = hn::Zero(d);
    for (int j = 0; j < rows_.shape.head_dim; j += 16)
      for (int i = 0; i < kParts; ++i) sums[i] = hn::Add(sums[i], hn::LoadU(d, q + j + i * kLanes));
    return fold(sums, FoldSum()) * rows_.shape.scale;
  }

  const Rows& rows_;
  size_t quads_per_row_ = 0;
  Quad* quads_ = nullptr;        // [n_variants][n_rows][head_dim / 4]
  Rounded* rounded_ = nullptr;   // [n_variants][n_rows]
  uint32_t* known_ = nullptr;    // [n_variants]: cut_of() the bands they are rounded for, 0 for not yet
  PageScore* scores_ = nullptr;  // [n_rows]
  uint8_t* bad_ = nullptr;       // [n_rows]
};

TileWork tile_work(const AttendShape& shape, const PageSlice& page, int token) {
  TileWork tile;
  tile.head_dim = shape.head_dim;
  tile.scale = shape.scale;
  tile.n = std::min(kTileTokens, page.n_tokens - token);
  tile.groups = padded_tokens(tile.n) / kTokenGroup;
  if (page.k_format.halves()) tile.k_halves = halves_at(page.k, shape.head_dim, token);
  if (page.v_format.halves()) tile.v_halves = halves_at(page.v, shape.head_dim, token);
  return tile;
}

// Weights times value scales to 8 bits of the largest.
void round_weights(const TileWork& tile, const TileBand& band, RowWork& work) {
  const F32 d;
  const int n = tile.groups * 16;
  Vf top[kParts];
  for (int i = 0; i < kParts; ++i) top[i] = hn::Zero(d);
  alignas(64) float weights[kTileTokens];
  for (int t = 0; t < n; t += 16)
    for (int i = 0; i < kParts; ++i) {
      const int at = t + i * kLanes;
      const Vf weight = hn::Mul(hn::Load(d, work.p + at), load_scales(band.scales, band.byte_scales, at));
      hn::Store(weight, d, weights + at);
      top[i] = hn::Max(top[i], weight);
    }
  const float largest = fold(top, FoldMax());
  const bool counts = largest > 1e-30F;
  work.w_step = counts ? largest / 255.0F : 0.0F;
  const Vf inverse = hn::Set(d, counts ? 255.0F / largest : 0.0F);
  const Vf magic = hn::Set(d, kRoundMagic);
  const hn::Rebind<uint8_t, F32> bytes_tag;
  alignas(64) uint8_t bytes[kTileTokens] = {};
  for (int t = 0; t < n; t += kLanes) {
    const Vf shifted = hn::Add(hn::Mul(hn::Load(d, weights + t), inverse), magic);
    const Vi rounded = hn::Sub(hn::BitCast(I32(), shifted), hn::BitCast(I32(), magic));
    hn::StoreU(hn::DemoteTo(bytes_tag, rounded), bytes_tag, bytes + t);
  }
  store_quads<kTileTokens>(bytes, work.w_quads);
}

// Asks for the codes of a tile while the one before it is worked on: pages are too short for the processor to foresee.
// Halves are runs long enough for it.
void prefetch_side(const SideFormat& format, const uint8_t* side, const uint8_t* scales, int n_tokens, int token) {
  for (int index = 0; index < format.stored_bands(); ++index) {
    const Band& band = format.bands[index];
    const BandPlace place = band_place(format, n_tokens, index);
    const uint8_t* codes = side + place.code_offset;
    const int low_bits = band.bits == 3 ? 2 : band.bits;
    const size_t begin = side_bytes(token, band.n_dims, low_bits);
    const size_t size = side_bytes(std::min(kTileTokens, n_tokens - token), band.n_dims, low_bits);
    for (size_t at = begin; at < begin + size; at += 64) __builtin_prefetch(codes + at, 0, 2);
    if (index == 0 || format.scale_per_band)
      __builtin_prefetch(scales + (place.scale_row * padded_tokens(n_tokens) + token) * format.scale_bytes(), 0, 2);
    if (band.bits != 3) continue;
    const uint8_t* high = codes + side_bytes(n_tokens, band.n_dims, 2);
    for (size_t at = begin / 2; at < (begin + size) / 2; at += 64) __builtin_prefetch(high + at, 0, 2);
  }
}

void prefetch_tile(const PageSlice& page, int token) {
  prefetch_side(page.k_format, page.k, page.k_scale, page.n_tokens, token);
  prefetch_side(page.v_format, page.v, page.v_scale, page.n_tokens, token);
}

template <int n_rows>
void score_rows(const DecodeRows& decode, const PageSlice& page, const TileWork& tile, int token, size_t row,
                RowWork* work) {
  if (page.k_format.halves()) return score_halves<n_rows>(tile, work);
  for (int index = 0; index < page.k_format.stored_bands(); ++index) {
    const TileBand band = key_band(page, token, index);
    for (int r = 0; r < n_rows; ++r) decode.fill_band(page, row + r, index, band, work[r]);
    if (index == 0)
      score_band<n_rows, false>(tile, band, work);
    else
      score_band<n_rows, true>(tile, band, work);
  }
  if (page.k_offset != nullptr)
    for (int r = 0; r < n_rows; ++r) score_offsets(tile, page.k_offset + token, work[r]);
}

template <int n_rows>
void add_values(const PageSlice& page, const TileWork& tile, int token, RowWork* work) {
  if (page.v_format.halves()) return add_halves<n_rows>(tile, work);
  for (int index = 0; index < page.v_format.stored_bands(); ++index) {
    const TileBand band = value_band(page, token, index);
    if (index == 0 || page.v_format.scale_per_band)
      for (int r = 0; r < n_rows; ++r) round_weights(tile, band, work[r]);
    add_band<n_rows>(tile, band, work);
  }
  if (page.v_offset != nullptr)
    for (int r = 0; r < n_rows; ++r) add_offsets(tile, page.v_offset + token, work[r]);
}

template <int n_rows>
void decode_rows(const Rows& rows, const DecodeRows& decode, const PageSlice& page, const TileWork& tile, int token,
                 size_t row) {
  RowWork work[n_rows];
  for (int r = 0; r < n_rows; ++r) decode.fill(page, row + r, work[r]);
  score_rows<n_rows>(decode, page, tile, token, row, work);
  for (int r = 0; r < n_rows; ++r) {
    const auto [first, last] = visible_keys(page.view_start + token, tile.n, rows.position(row + r), rows.shape.window);
    soften(rows, row + r, first, last, tile.groups, work[r].p);
  }
  add_values<n_rows>(page, tile, token, work);
}

void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state, AttendScratch& scratch) {
  const Rows rows(shape, queries, state);
  DecodeRows decode(rows, pages, scratch);
  SubsetMasks k_subsets, v_subsets;
  for (size_t i = 0; i < pages.size(); ++i) {
    const PageSlice& page = pages[i];
    decode.begin_page(page);
    for (int token = 0; token < page.n_tokens; token += kTileTokens) {
      TileWork tile = tile_work(shape, page, token);
      tile.k_subsets = &k_subsets;
      tile.v_subsets = &v_subsets;
      if (token + kTileTokens < page.n_tokens)
        prefetch_tile(page, token + kTileTokens);
      else if (i + 1 < pages.size())
        prefetch_tile(pages[i + 1], 0);
      const auto [first, last] =
          seeing_tokens(queries.positions, queries.n_tokens, page.view_start + token, tile.n, shape.window);
      size_t row = static_cast<size_t>(first) * shape.n_group;
      const size_t end = static_cast<size_t>(last) * shape.n_group;
      if (row == end) continue;
      key_subsets(page, token, tile.groups, k_subsets);
      value_subsets(page, token, tile.groups, v_subsets);
      for (; row + 4 <= end; row += 4) decode_rows<4>(rows, decode, page, tile, token, row);
      if (end - row == 3) decode_rows<3>(rows, decode, page, tile, token, row);
      if (end - row == 2) decode_rows<2>(rows, decode, page, tile, token, row);
      if (end - row == 1) decode_rows<1>(rows, decode, page, tile, token, row);
    }
  }
  for (size_t row = 0; row < rows.n_rows; ++row)
    if (decode.bad(row)) poison_row(rows, row);
}

#endif
}  // namespace recalld::kernels::HWY_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace recalld::kernels {

HWY_EXPORT(attend_decode);

void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state, AttendScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(attend_decode)(shape, queries, pages, state, scratch);
}

}  // namespace recalld::kernels
#endif
