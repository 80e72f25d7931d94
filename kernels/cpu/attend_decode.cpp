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
    const size_t entries = static_cast<size_t>(n_variants) * rows.n_rows;
    quads_per_row_ = static_cast<size_t>(rows.shape.head_dim) / 4;
    const size_t quad_bytes = round_up(entries * quads_per_row_ * sizeof(Quad), 64);
    const size_t rounded_bytes = round_up(entries * sizeof(Rounded), 64);
    const size_t mean_bytes = round_up(rows.n_rows * sizeof(float), 64);
    std::byte* base = scratch.reserve(quad_bytes + rounded_bytes + mean_bytes + rows.n_rows + n_variants);
    quads_ = reinterpret_cast<Quad*>(base);
    rounded_ = reinterpret_cast<Rounded*>(base + quad_bytes);
    means_ = reinterpret_cast<float*>(base + quad_bytes + rounded_bytes);
    bad_ = reinterpret_cast<uint8_t*>(base + quad_bytes + rounded_bytes + mean_bytes);
    known_ = bad_ + rows.n_rows;
    std::memset(bad_, 0, rows.n_rows + n_variants);
  }

  // Makes ready for the tiles of a page.
  void begin_page(const PageSlice& page) {
    if (known_[page.variant] == 0) {
      for (size_t row = 0; row < rows_.n_rows; ++row) round_query(page.variant, row);
      known_[page.variant] = 1;
    }
    for (size_t row = 0; row < rows_.n_rows; ++row)
      means_[row] = page.k_mean == nullptr ? 0.0F : mean_score(rows_.q(page.variant, row), page.k_mean);
  }

  void fill(const PageSlice& page, size_t row, RowWork& work) const {
    const size_t entry = static_cast<size_t>(page.variant) * rows_.n_rows + row;
    work.q = rows_.q(page.variant, row);
    work.q_quads = quads_ + entry * quads_per_row_;
    work.q_bias = rounded_[entry].bias;
    if (page.k_bits != 16) work.q_factor = rounded_[entry].scale * (rows_.shape.scale * lloyd_max(page.k_bits).unit);
    work.mean = means_[row];
    work.acc = rows_.acc(page.space, row);
  }

  bool bad(size_t row) const { return bad_[row] != 0; }

 private:
  struct Rounded {
    float scale;
    int32_t bias;
  };

  void round_query(int variant, size_t row) {
    const float* q = rows_.q(variant, row);
    const int head_dim = rows_.shape.head_dim;
    const size_t entry = static_cast<size_t>(variant) * rows_.n_rows + row;
    const bool finite = all_finite(q, head_dim);
    if (!finite) bad_[row] = 1;

    float largest = 0;
    for (int j = 0; j < head_dim; ++j) largest = std::max(largest, std::abs(q[j]));
    const QueryScale scale = finite ? query_scale(largest) : QueryScale();
    int8_t bytes[kMaxHeadDim];
    int32_t sum = 0;
    for (int j = 0; j < head_dim; ++j) {
      bytes[j] = finite ? static_cast<int8_t>(round_even(q[j] * scale.inverse)) : int8_t{0};
      sum += bytes[j];
    }
    for (int j = 0; j < head_dim; j += 16) store_quads<16>(bytes + j, quads_ + entry * quads_per_row_ + j / 4);
    rounded_[entry] = {scale.scale, sum * kKeyOffset};
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

  const Rows& rows_;
  size_t quads_per_row_ = 0;
  Quad* quads_ = nullptr;       // [n_variants][n_rows][head_dim / 4]
  Rounded* rounded_ = nullptr;  // [n_variants][n_rows]
  float* means_ = nullptr;      // [n_rows]
  uint8_t* bad_ = nullptr;      // [n_rows]
  uint8_t* known_ = nullptr;    // [n_variants]
};

TileWork tile_work(const AttendShape& shape, const PageSlice& page, int token) {
  TileWork tile;
  tile.head_dim = shape.head_dim;
  tile.scale = shape.scale;
  tile.n = std::min(kTileTokens, page.n_tokens - token);
  tile.groups = padded_tokens(tile.n) / kTokenGroup;
  if (page.k_bits == 16) {
    tile.k_halves = halves_at(page.k, shape.head_dim, token);
  } else {
    tile.k = codes_at(page.k, page.n_tokens, shape.head_dim, page.k_bits, token);
    tile.k_scale = page.k_scale + token;
  }
  if (page.v_bits == 16) {
    tile.v_halves = halves_at(page.v, shape.head_dim, token);
  } else {
    tile.v = codes_at(page.v, page.n_tokens, shape.head_dim, page.v_bits, token);
    tile.v_scale = page.v_scale + token;
  }
  return tile;
}

// Weights times value scales to 8 bits of the largest.
void round_weights(const TileWork& tile, float unit, RowWork& work) {
  const F32 d;
  const int n = tile.groups * 16;
  Vf top[kParts];
  for (int i = 0; i < kParts; ++i) top[i] = hn::Zero(d);
  alignas(64) float weights[kTileTokens];
  for (int t = 0; t < n; t += 16)
    for (int i = 0; i < kParts; ++i) {
      const int at = t + i * kLanes;
      const Vf weight = hn::Mul(hn::Load(d, work.p + at), load_halves(tile.v_scale + at));
      hn::Store(weight, d, weights + at);
      top[i] = hn::Max(top[i], weight);
    }
  const float largest = fold(top, FoldMax());
  const bool counts = largest > 1e-30F;
  work.w_factor = counts ? (largest / 255.0F) * unit : 0.0F;
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
void prefetch_side(const uint8_t* side, int n_tokens, int head_dim, int bits, int token) {
  if (bits == 16) return;
  const size_t begin = side_bytes(token, head_dim, bits == 3 ? 2 : bits);
  const size_t size = side_bytes(std::min(kTileTokens, n_tokens - token), head_dim, bits == 3 ? 2 : bits);
  for (size_t at = begin; at < begin + size; at += 64) __builtin_prefetch(side + at, 0, 2);
  if (bits != 3) return;
  const uint8_t* high = side + side_bytes(n_tokens, head_dim, 2);
  for (size_t at = begin / 2; at < (begin + size) / 2; at += 64) __builtin_prefetch(high + at, 0, 2);
}

void prefetch_tile(const PageSlice& page, int head_dim, int token) {
  prefetch_side(page.k, page.n_tokens, head_dim, page.k_bits, token);
  prefetch_side(page.v, page.n_tokens, head_dim, page.v_bits, token);
  if (page.k_bits != 16) __builtin_prefetch(page.k_scale + token, 0, 2);
  if (page.v_bits != 16) __builtin_prefetch(page.v_scale + token, 0, 2);
}

template <int n_rows>
void decode_rows(const Rows& rows, const DecodeRows& decode, const PageSlice& page, const TileWork& tile, int token,
                 size_t row) {
  RowWork work[n_rows];
  for (int r = 0; r < n_rows; ++r) decode.fill(page, row + r, work[r]);
  score_loop<n_rows>(page.k_bits)(tile, work);
  for (int r = 0; r < n_rows; ++r) {
    const auto [first, last] = visible_keys(page.view_start + token, tile.n, rows.position(row + r), rows.shape.window);
    soften(rows, row + r, first, last, tile.groups, work[r].p);
    if (page.v_bits != 16) round_weights(tile, lloyd_max(page.v_bits).unit, work[r]);
  }
  value_loop<n_rows>(page.v_bits)(tile, work);
}

void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state, AttendScratch& scratch) {
  const Rows rows(shape, queries, state);
  DecodeRows decode(rows, pages, scratch);
  for (size_t i = 0; i < pages.size(); ++i) {
    const PageSlice& page = pages[i];
    decode.begin_page(page);
    for (int token = 0; token < page.n_tokens; token += kTileTokens) {
      const TileWork tile = tile_work(shape, page, token);
      if (token + kTileTokens < page.n_tokens)
        prefetch_tile(page, shape.head_dim, token + kTileTokens);
      else if (i + 1 < pages.size())
        prefetch_tile(pages[i + 1], shape.head_dim, 0);
      const auto [first, last] =
          seeing_tokens(queries.positions, queries.n_tokens, page.view_start + token, tile.n, shape.window);
      size_t row = static_cast<size_t>(first) * shape.n_group;
      const size_t end = static_cast<size_t>(last) * shape.n_group;
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
