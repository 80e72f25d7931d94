// Decode attention over coded pages by one warp: up to eight rows of queries (the query heads of a KV head, times few
// tokens) against tiles of 64 keys. Codes are read once, by 16-byte asynchronous copies to the warp's own shared
// memory, the next tile's keys while values are added and its values while keys are scored, and multiplied as they are
// by the tensor cores' 8-bit integer product. The roundings are those of attend_decode (kernels/attend.h): queries to 8
// bits of the largest number of each band, weights times value scales to 8 bits of the tile's largest.
//
// A product has 16 rows of codes and 8 columns: rows of queries. Lane l = 4 g + i gives the codes of row group g and
// holds results of columns 2 i and 2 i + 1; four rows of codes are a lane's own:
//   scores:  tokens 32 s + 4 g + (0..3) of the tile, s = 0, 1;
//   outputs: dims 32 c + 4 g + (0..3), c = 0 .. kChunks - 1.
// head_dim is at most 32 kChunks.
#pragma once

#include "kernels/cuda/lane/attend_args.cuh"
#include "kernels/cuda/lane/trellis.cuh"

namespace recalld::kernels::cuda {

// One warp's part of shared memory.
template <int kChunks>
struct CodedMemory {
  static constexpr int kDims = 32 * kChunks;
  static constexpr int kQueryStride = kDims + 32;
  static constexpr int kWeightStride = kTile + 16;

  // Codes of a tile at up to 4 bits. When the warp is done, k holds its acc: [kRows][head_dim].
  alignas(16) uint8_t k[kTile * kDims / 2];
  alignas(16) uint8_t v[kTile * kDims / 2];
  alignas(16) uint8_t k_scale[kMaxBands][2 * kTile];  // halves or bytes
  alignas(16) uint8_t v_scale[kMaxBands][2 * kTile];
  alignas(16) uint16_t k_offset[kTile];
  alignas(16) uint16_t v_offset[kTile];
  alignas(16) uint8_t q[kRows][kQueryStride];                    // rounded queries
  alignas(16) uint8_t weights[kMaxBands][kRows][kWeightStride];  // rounded weights, for each row of value scales
  float weight_step[kMaxBands][kRows];
  float q_factor[kMaxBands][kRows];
  float q_sum[kRows];
  float q_mean[kRows];
  float m[kRows];
  float l[kRows];

  RECALLD_LANE float* acc() { return reinterpret_cast<float*>(k); }
  // Where store_paths_before() writes for a band: in the weights before there are any, over value scales that were
  // read.
  RECALLD_LANE uint8_t* k_before(int band) { return weights[0][0] + band * kPathsBefore<true>; }
  RECALLD_LANE uint8_t* v_before(int band) { return v_scale[band]; }
  static_assert(sizeof weights >= kMaxBands * kPathsBefore<true> && sizeof v_scale[0] >= kPathsBefore<false>);
};

// Asynchronous copy of n bytes, a multiple of 16, by all lanes.
template <class Warp>
RECALLD_LANE void copy_span(Warp& warp, void* to, const void* from, int n) {
  for (int at = 16 * warp.lane(); at < n; at += 16 * 32)
    warp.copy16(static_cast<uint8_t*>(to) + at, static_cast<const uint8_t*>(from) + at);
}

// The tile's part of one side: what lies in the page as spans becomes a side of its own with the tile's tokens.
template <class Warp>
RECALLD_LANE void copy_side(Warp& warp, const SideFormat& format, int page_tokens, int token, int n_tokens,
                            const uint8_t* codes, const uint8_t* scales, const uint16_t* offsets, uint8_t* to_codes,
                            uint8_t (*to_scales)[2 * kTile], uint16_t* to_offsets) {
  const int padded = padded_tokens(n_tokens);
  const size_t page_padded = static_cast<size_t>(padded_tokens(page_tokens));
  const int scale_bytes = format.scale_bytes();
  size_t from = 0;
  int to = 0;
  for (int band = 0; band < format.stored_bands(); ++band) {
    const int n_dims = format.bands[band].n_dims, bits = format.bands[band].bits;
    for (int plane = bits == 3 ? 2 : bits; plane > 0; plane = bits == 3 && plane == 2 ? 1 : 0) {
      const int n = padded * n_dims * plane / 8;
      copy_span(warp, to_codes + to, codes + from + static_cast<size_t>(token) * n_dims * plane / 8, n);
      from += page_padded * n_dims * plane / 8;
      to += n;
    }
  }
  for (int row = 0; row < format.n_scales(); ++row)
    copy_span(warp, to_scales[row], scales + (row * page_padded + token) * scale_bytes, padded * scale_bytes);
  if (offsets != nullptr) copy_span(warp, to_offsets, offsets + token, 2 * padded);
}

// Four scales of a tile, from token `first`, a multiple of 4.
RECALLD_LANE void load_four_scales(const uint8_t* scales, bool bytes, int first, float (&to)[4]) {
  if (bytes) {
    const auto four = load<uint32_t>(scales + first);
    RECALLD_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = half_value(half_of_scale_byte(static_cast<uint8_t>(four >> 8 * i)));
  } else {
    const auto four = load<Words2>(scales + 2 * first);
    RECALLD_UNROLL
    for (int i = 0; i < 4; ++i) to[i] = half_value(static_cast<uint16_t>(four.word[i / 2] >> i % 2 * 16));
  }
}

RECALLD_LANE int tile_tokens(const PageSlice& page, int token) {
  const int left = page.n_tokens - token;
  return left < kTile ? left : kTile;
}

template <int kChunks, class Warp>
RECALLD_LANE void copy_keys(Warp& warp, const AttendArgs& args, const AttendTile& tile, CodedMemory<kChunks>& memory) {
  const PageSlice& page = args.slices[tile.slice];
  copy_side(warp, page.k_format, page.n_tokens, tile.token, tile_tokens(page, tile.token), page.k, page.k_scale,
            page.k_offset, memory.k, memory.k_scale, memory.k_offset);
}

template <int kChunks, class Warp>
RECALLD_LANE void copy_values(Warp& warp, const AttendArgs& args, const AttendTile& tile,
                              CodedMemory<kChunks>& memory) {
  const PageSlice& page = args.slices[tile.slice];
  copy_side(warp, page.v_format, page.n_tokens, tile.token, tile_tokens(page, tile.token), page.v, page.v_scale,
            page.v_offset, memory.v, memory.v_scale, memory.v_offset);
}

RECALLD_LANE bool same_format(const SideFormat& a, const SideFormat& b) {
  bool same = a.n_bands == b.n_bands && a.grid == b.grid;
  for (int i = 0; i < kMaxBands; ++i)
    same = same && a.bands[i].bits == b.bands[i].bits && a.bands[i].n_dims == b.bands[i].n_dims;
  return same;
}

// Sum over the four lanes of a row group, in all of them.
template <class Warp>
RECALLD_LANE float sum_parts(Warp& warp, float x) {
  x += warp.shuffle_xor(x, 1);
  return x + warp.shuffle_xor(x, 2);
}

// Over the eight lanes that hold the same columns.
template <class Warp>
RECALLD_LANE float sum_groups(Warp& warp, float x) {
  x += warp.shuffle_xor(x, 4);
  x += warp.shuffle_xor(x, 8);
  return x + warp.shuffle_xor(x, 16);
}

template <class Warp>
RECALLD_LANE float largest_of_groups(Warp& warp, float x) {
  x = larger(x, warp.shuffle_xor(x, 4));
  x = larger(x, warp.shuffle_xor(x, 8));
  return larger(x, warp.shuffle_xor(x, 16));
}

// Rounds the queries of a variant for the bands of a format: lane 4 g + i takes row g. True when the row is finite; a
// row that is not counts as zeros.
template <int kChunks, class Warp>
RECALLD_LANE bool round_queries(Warp& warp, const AttendArgs& args, int problem, int row, const PageSlice& page,
                                CodedMemory<kChunks>& memory) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  const int head_dim = args.shape.head_dim;
  const float* q = args.query(problem, page.variant, row);
  const bool exists = row < args.n_rows();
  bool finite = true;
  float sum = 0;
  for (int j = part; j < head_dim && exists; j += 4) {
    finite = finite && is_number(q[j]);
    sum += q[j];
  }
  finite = !(warp.shuffle_xor(finite ? 0 : 1, 1) | (finite ? 0 : 1));
  finite = !(warp.shuffle_xor(finite ? 0 : 1, 2) | (finite ? 0 : 1));
  const bool use = exists && finite;
  sum = sum_parts(warp, sum);
  if (part == 0) memory.q_sum[group] = use ? sum * args.shape.scale : 0.0F;

  int first = 0;
  for (int band = 0; band < page.k_format.stored_bands(); ++band) {
    const int end = first + page.k_format.bands[band].n_dims;
    float largest = 0;
    for (int j = first + 4 * part; j < end && use; j += 16)
      for (int b = 0; b < 4; ++b) largest = larger(largest, absolute(q[j + b]));
    largest = larger(largest, warp.shuffle_xor(largest, 1));
    largest = larger(largest, warp.shuffle_xor(largest, 2));
    const bool rounds = largest > 1e-30F;
    const float inverse = rounds ? divide(127.0F, largest) : 0.0F;
    const float scale = rounds ? divide(largest, 127.0F) : 0.0F;
    const float unit = args.levels.at(page.k_format.grid, page.k_format.bands[band].bits).unit;
    if (part == 0) memory.q_factor[band][group] = scale * (args.shape.scale * unit);
    for (int j = first + 4 * part; j < end; j += 16) {
      uint32_t code[4] = {};
      for (int b = 0; b < 4 && use; ++b) code[b] = bits_as<uint32_t>(add(multiply(q[j + b], inverse), kRoundMagic));
      const uint32_t packed = use ? pack_bytes(code[0], code[1], code[2], code[3]) : 0;
      memcpy(&memory.q[group][j], &packed, sizeof packed);
    }
    first = end;
  }
  return finite;
}

// The score of the page's key mean, for each row.
template <int kChunks, class Warp>
RECALLD_LANE void score_mean(Warp& warp, const AttendArgs& args, int problem, int row, bool finite,
                             const PageSlice& page, CodedMemory<kChunks>& memory) {
  float mean = 0;
  if (page.k_mean != nullptr && finite && row < args.n_rows()) {
    const float* q = args.query(problem, page.variant, row);
    for (int j = 8 * (warp.lane() % 4); j < args.shape.head_dim; j += 32)
      for (int b = 0; b < 8 && j + b < args.shape.head_dim; ++b) mean += q[j + b] * half_value(page.k_mean[j + b]);
  }
  mean = sum_parts(warp, mean);
  if (warp.lane() % 4 == 0) memory.q_mean[warp.lane() / 4] = mean * args.shape.scale;
}

// Of a trellis side, for each band: the path bits before it. The tile's codes have landed.
template <bool key, int kChunks, class Warp>
RECALLD_LANE void store_paths(Warp& warp, const SideFormat& format, int padded, CodedMemory<kChunks>& memory) {
  if (format.grid != Grid::kTrellis) return;
  const uint8_t* codes = key ? memory.k : memory.v;
  RECALLD_NO_UNROLL
  for (int band = 0; band < format.stored_bands(); ++band) {
    if (band > 1) codes += padded * format.bands[band - 2].n_dims * format.bands[band - 2].bits / 8;
    store_paths_before<key>(warp, format, band, codes, padded, key ? memory.k_before(band) : memory.v_before(band));
  }
  warp.sync();
}

// Block `at` of a key band for four tokens: `low` are the words of its first, `high` the masks of 3 bits. before: what
// stands before the first on the trellis grid.
template <class Code>
RECALLD_LANE Block<Code> load_keys(const uint8_t* low, const uint8_t* high, int at, const uint8_t* before) {
  Block<Code> block;
  block.words = load<Words4>(low + at * 64);
  if constexpr (Code::kLowerWords) {
    const auto last = load<Words4>(at > 0 ? low + (at - 1) * 64 : before);
    key_subsets<Code::kBits>(last, block.words, block.lower_words);
  }
  if constexpr (Code::kBits == 3) {
    uint32_t mask[4];
    RECALLD_UNROLL
    for (int quad = 0; quad < 4; ++quad) mask[quad] = load<uint16_t>(high + (4 * at + quad) * 8);
    Masks masks = pack_masks(mask);
    if constexpr (Code::kTrellis) {
      const uint32_t last = load<uint16_t>(at > 0 ? high + (4 * at - 1) * 8 : before);
      const Masks own = masks;
      Masks lower;
      key_mask_subsets(last | own.odd << 16, masks.even, lower.even);
      key_mask_subsets(own.even, masks.odd, lower.odd);
      block.lower_high = high_bits(lower);
    }
    block.high = high_bits(masks);
  }
  return block;
}

// Adds a band's part to the scores of 32 tokens, those from 32 half on.
template <class Code, int kChunks, class Warp>
RECALLD_LANE void score_band(Warp& warp, const LevelTable& table, const uint8_t* codes, int padded, int n_dims,
                             int first_dim, int half, const SideFormat& format, int band, CodedMemory<kChunks>& memory,
                             float (&score)[4][2]) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  const int token_group = 2 * half + group / 4;
  const int n_blocks = n_dims / Code::kPlaces;
  const uint8_t* low = codes + token_group * n_blocks * 64 + group % 4 * 16;
  const uint8_t* high = codes + padded * n_dims / 4 + token_group * n_dims * 2 + group % 4 * 2;
  const uint8_t* before = memory.k_before(band) + (8 * half + group) * (Code::kBits == 3 ? 2 : 16);
  Sums<Code> sums;
  for (int first = 0; first < n_blocks; first += 4) {
    const int block = first + part;
    const bool exists = block < n_blocks;
    const int at = exists ? block : 0;
    const auto codes_of_lane = load_keys<Code>(low, high, at, before);
    const uint8_t* q = &memory.q[group][first_dim + at * Code::kPlaces];
    Factor<Code> factor;
    if constexpr (Code::kPlaces == 8) {
      factor = factor_of<Code>(load<Words2>(q).word);
    } else {
      factor = factor_of<Code>(load<Words4>(q).word);
    }
    RECALLD_UNROLL
    for (auto& product : factor.b)
      for (uint32_t& b : product) b = exists ? b : 0;
    multiply_block<false>(warp, codes_of_lane, table, factor, sums);
  }
  float scales[4];
  load_four_scales(memory.k_scale[format.scale_per_band ? band : 0], format.byte_scales, 32 * half + 4 * group, scales);
  RECALLD_UNROLL
  for (int token = 0; token < 4; ++token) {
    const float scale = scales[token];
    RECALLD_UNROLL
    for (int column = 0; column < 2; ++column)
      score[token][column] +=
          static_cast<float>(sums.at(token, column)) * memory.q_factor[band][2 * part + column] * scale;
  }
}

// Scores of a tile: [half][token of the lane][column of the lane], before masking.
template <bool trellis, int kChunks, class Warp>
RECALLD_LANE void score_tile(Warp& warp, const AttendArgs& args, const PageSlice& page, int padded,
                             CodedMemory<kChunks>& memory, float (&score)[2][4][2]) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  RECALLD_UNROLL
  for (int half = 0; half < 2; ++half) {
    RECALLD_UNROLL
    for (int token = 0; token < 4; ++token) {
      const float offset = page.k_offset == nullptr ? 0.0F : half_value(memory.k_offset[32 * half + 4 * group + token]);
      RECALLD_UNROLL
      for (int column = 0; column < 2; ++column)
        score[half][token][column] = memory.q_mean[2 * part + column] + offset * memory.q_sum[2 * part + column];
    }
  }
  const uint8_t* codes = memory.k;
  int first_dim = 0;
  RECALLD_NO_UNROLL
  for (int band = 0; band < page.k_format.stored_bands(); ++band) {
    const int n_dims = page.k_format.bands[band].n_dims, bits = page.k_format.bands[band].bits;
    const LevelTable table = args.levels.at(page.k_format.grid, bits);
    RECALLD_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (half * 32 >= padded) break;
      with_coding<trellis>(page.k_format.grid, bits, [&](auto code) {
        score_band<decltype(code)>(warp, table, codes, padded, n_dims, first_dim, half, page.k_format, band, memory,
                                   score[half]);
      });
    }
    codes += padded * n_dims * bits / 8;
    first_dim += n_dims;
  }
}

// What a lane keeps of its two columns while it goes through the tiles.
template <int kChunks>
struct CodedLane {
  float m[2];  // the same in the eight lanes of a column
  float l[2];  // this lane's tokens alone
  float acc[kChunks][4][2];
};

// Scores to weights p = exp(score - m), with m raised as needed; keys that a column does not see get 0.
template <int kChunks, class Warp>
RECALLD_LANE void softmax_tile(Warp& warp, const AttendArgs& args, const int (&position)[2], int key, int n_tokens,
                               float (&score)[2][4][2], CodedLane<kChunks>& state) {
  const int group = warp.lane() / 4;
  bool raised = false;
  float rescale[2];
  RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) {
    float top = minus_infinity();
    RECALLD_UNROLL
    for (int i = 0; i < 8; ++i) {
      const int token = 32 * (i / 4) + 4 * group + i % 4;
      float& s = score[i / 4][i % 4][column];
      if (token >= n_tokens || !is_visible(key + token, position[column], args.shape.window)) s = minus_infinity();
      top = larger(top, s);
    }
    const float m = larger(state.m[column], largest_of_groups(warp, top));
    const float base = m == minus_infinity() ? 0.0F : m;
    rescale[column] = weight_exp(state.m[column] - base);
    raised = raised || m != state.m[column];
    state.m[column] = m;
    float sum = 0;
    RECALLD_UNROLL
    for (int i = 0; i < 8; ++i) {
      float& s = score[i / 4][i % 4][column];
      s = weight_exp(s - base);
      sum += s;
    }
    state.l[column] = state.l[column] * rescale[column] + sum;
  }
  if (!warp.any(raised)) return;
  RECALLD_UNROLL
  for (int chunk = 0; chunk < kChunks; ++chunk) RECALLD_UNROLL
  for (int dim = 0; dim < 4; ++dim) RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) state.acc[chunk][dim][column] *= rescale[column];
}

// Rounds weights times value scales to 8 bits, for each row of scales.
template <int kChunks, class Warp>
RECALLD_LANE void round_weights(Warp& warp, const PageSlice& page, const float (&p)[2][4][2],
                                CodedMemory<kChunks>& memory) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  RECALLD_NO_UNROLL
  for (int row = 0; row < page.v_format.n_scales(); ++row) {
    float scale[2][4];
    RECALLD_UNROLL
    for (int half = 0; half < 2; ++half)
      load_four_scales(memory.v_scale[row], page.v_format.byte_scales, 32 * half + 4 * group, scale[half]);
    RECALLD_UNROLL
    for (int column = 0; column < 2; ++column) {
      float weight[2][4], largest = 0;
      RECALLD_UNROLL
      for (int i = 0; i < 8; ++i) {
        const float x = p[i / 4][i % 4][column];
        weight[i / 4][i % 4] = x > 0 ? multiply(x, scale[i / 4][i % 4]) : 0.0F;
        largest = larger(largest, weight[i / 4][i % 4]);
      }
      largest = largest_of_groups(warp, largest);
      const bool rounds = largest > 1e-30F;
      const float inverse = rounds ? divide(255.0F, largest) : 0.0F;
      if (group == 0) memory.weight_step[row][2 * part + column] = rounds ? divide(largest, 255.0F) : 0.0F;
      RECALLD_UNROLL
      for (int half = 0; half < 2; ++half) {
        uint32_t code[4];
        RECALLD_UNROLL
        for (int token = 0; token < 4; ++token)
          code[token] = bits_as<uint32_t>(add(multiply(weight[half][token], inverse), kRoundMagic));
        const uint32_t packed = pack_bytes(code[0], code[1], code[2], code[3]);
        memcpy(&memory.weights[row][2 * part + column][32 * half + 4 * group], &packed, sizeof packed);
      }
    }
  }
}

// Adds sum of weight times offset to all dims.
template <int kChunks, class Warp>
RECALLD_LANE void add_offsets(Warp& warp, const float (&p)[2][4][2], const CodedMemory<kChunks>& memory,
                              CodedLane<kChunks>& state) {
  const int group = warp.lane() / 4;
  RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) {
    float sum = 0;
    RECALLD_UNROLL
    for (int i = 0; i < 8; ++i) {
      const float x = p[i / 4][i % 4][column];
      if (x > 0) sum += x * half_value(memory.v_offset[32 * (i / 4) + 4 * group + i % 4]);
    }
    sum = sum_groups(warp, sum);
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) RECALLD_UNROLL
    for (int dim = 0; dim < 4; ++dim) state.acc[chunk][dim][column] += sum;
  }
}

// A block of a value band: `low` are its words, `high` the masks of 3 bits, high_step bytes apart. Where the band
// begins with its dims, low_before and high_before are what stands before: of the same words, of the first mask.
template <class Code>
RECALLD_LANE Block<Code> load_values(const uint8_t* low, const uint8_t* low_before, const uint8_t* high, int high_step,
                                     const uint8_t* high_before, int before_step) {
  Block<Code> block;
  block.words = load<Words4>(low);
  if constexpr (Code::kLowerWords) value_subsets<Code::kBits>(load<Words4>(low_before), block.words, block.lower_words);
  if constexpr (Code::kBits == 3) {
    uint32_t mask[4];
    RECALLD_UNROLL
    for (int quad = 0; quad < 4; ++quad) mask[quad] = load<uint16_t>(high + quad * high_step);
    Masks masks = pack_masks(mask);
    if constexpr (Code::kTrellis) {
      RECALLD_UNROLL
      for (int quad = 0; quad < 4; ++quad) mask[quad] = load<uint16_t>(high_before + quad * before_step);
      const Masks last = pack_masks(mask);
      Masks lower;
      value_mask_subsets(last.even, masks.even, lower.even);
      value_mask_subsets(last.odd, masks.odd, lower.odd);
      block.lower_high = high_bits(lower);
    }
    block.high = high_bits(masks);
  }
  return block;
}

// Adds weights times values of 16 dims for each half of the warp's row groups: `chunk` counts them in the band. A lane
// whose dims belong to another band takes part with any chunk and keeps nothing.
template <class Code, int kChunks, class Warp>
RECALLD_LANE void add_band(Warp& warp, const LevelTable& table, const uint8_t* codes, int padded, int n_dims, int chunk,
                           bool mine, int scale_row, int band, CodedMemory<kChunks>& memory, float (&acc)[4][2]) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  const int n_chunks = n_dims / 16;
  const uint8_t* weights = memory.weights[scale_row][group];
  // Rows of four dims follow each other, but those before the band's first lie elsewhere.
  const bool begins = chunk == 0 && group % 4 == 0;
  const uint8_t* before = memory.v_before(band);
  Sums<Code> sums;
  if constexpr (Code::kPlaces == 8) {
    for (int step = 0; step < padded; step += 32) {
      const int words = step / 8 + part;
      const uint8_t* low = codes + (words * n_chunks + chunk) * 64 + group % 4 * 16;
      const auto block = load_values<Code>(low, begins ? before + words * 16 : low - 16, nullptr, 0, nullptr, 0);
      const auto factor = factor_of<Code>(load<Words2>(weights + step + 8 * part).word);
      multiply_block<true>(warp, block, table, factor, sums);
    }
  } else {
    const uint8_t* low = codes + (part * n_chunks + chunk) * 64 + group % 4 * 16;
    const uint8_t* high = codes + padded * n_dims / 4 + (4 * part * n_chunks + chunk) * 8 + group % 4 * 2;
    const auto block = load_values<Code>(low, begins ? before + part * 16 : low - 16, high, n_chunks * 8,
                                         begins ? before + part * 8 : high - 2, begins ? 2 : n_chunks * 8);
    const auto factor = factor_of<Code>(load<Words4>(weights + 16 * part).word);
    multiply_block<true>(warp, block, table, factor, sums);
  }
  if (!mine) return;
  RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) {
    const float step = memory.weight_step[scale_row][2 * part + column] * table.unit;
    RECALLD_UNROLL
    for (int dim = 0; dim < 4; ++dim) acc[dim][column] += static_cast<float>(sums.at(dim, column)) * step;
  }
}

template <bool trellis, int kChunks, class Warp>
RECALLD_LANE void add_values(Warp& warp, const AttendArgs& args, const PageSlice& page, int padded,
                             CodedMemory<kChunks>& memory, CodedLane<kChunks>& state) {
  const int upper = warp.lane() / 16;
  const int stored = stored_dims(page.v_format);
  RECALLD_UNROLL
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    // A chunk of 32 dims has one band or, where bands meet in its middle, two.
    RECALLD_NO_UNROLL
    for (int first = 32 * chunk; first < 32 * chunk + 32 && first < stored;) {
      int band = 0, first_dim = 0;
      const uint8_t* codes = memory.v;
      while (first >= first_dim + page.v_format.bands[band].n_dims) {
        codes += padded * page.v_format.bands[band].n_dims * page.v_format.bands[band].bits / 8;
        first_dim += page.v_format.bands[band++].n_dims;
      }
      const int n_dims = page.v_format.bands[band].n_dims, bits = page.v_format.bands[band].bits;
      const int scale_row = page.v_format.scale_per_band ? band : 0;
      const int dim = 32 * chunk + 16 * upper;
      const bool mine = dim >= first && dim < first_dim + n_dims;
      const int at = (mine ? dim - first_dim : first - first_dim) / 16;
      const LevelTable table = args.levels.at(page.v_format.grid, bits);
      with_coding<trellis>(page.v_format.grid, bits, [&](auto code) {
        add_band<decltype(code)>(warp, table, codes, padded, n_dims, at, mine, scale_row, band, memory,
                                 state.acc[chunk]);
      });
      first = first_dim + n_dims < 32 * chunk + 32 ? first_dim + n_dims : 32 * chunk + 32;
    }
  }
}

// Attends rows first_row .. first_row + 7 of a problem to the tiles [first_tile, end_tile). The result is left in
// memory.m, .l and .acc(), all columns of which are written. trellis: that pages may have sides on the trellis grid,
// which takes more registers.
template <bool trellis, int kChunks, class Warp>
RECALLD_LANE void attend_coded(Warp& warp, const AttendArgs& args, int problem, int first_row, int first_tile,
                               int end_tile, CodedMemory<kChunks>& memory) {
  const int group = warp.lane() / 4, part = warp.lane() % 4;
  CodedLane<kChunks> state;
  int position[2];
  RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) {
    state.m[column] = minus_infinity();
    state.l[column] = 0;
    position[column] = args.position(problem, first_row + 2 * part + column);
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) RECALLD_UNROLL
    for (int dim = 0; dim < 4; ++dim) state.acc[chunk][dim][column] = 0;
  }
  bool finite = true;
  bool variant_finite = true;
  int last_slice = -1;

  if (first_tile < end_tile) copy_keys(warp, args, args.tiles[first_tile], memory);
  warp.commit_copies();
  if (first_tile < end_tile) copy_values(warp, args, args.tiles[first_tile], memory);
  warp.commit_copies();
  RECALLD_NO_UNROLL
  for (int index = first_tile; index < end_tile; ++index) {
    const AttendTile tile = args.tiles[index];
    const PageSlice& page = args.slices[tile.slice];
    const int n_tokens = tile_tokens(page, tile.token);
    const int padded = padded_tokens(n_tokens);
    if (tile.slice != last_slice) {
      const int row = first_row + group;
      if (last_slice < 0 || page.variant != args.slices[last_slice].variant ||
          !same_format(page.k_format, args.slices[last_slice].k_format)) {
        variant_finite = round_queries(warp, args, problem, row, page, memory);
        finite = finite && variant_finite;
      }
      score_mean(warp, args, problem, row, variant_finite, page, memory);
      last_slice = tile.slice;
    }
    warp.wait_copies_but_one();
    warp.sync();
    if constexpr (trellis) store_paths<true>(warp, page.k_format, padded, memory);
    float score[2][4][2];
    score_tile<trellis>(warp, args, page, padded, memory, score);
    warp.sync();
    if (index + 1 < end_tile) copy_keys(warp, args, args.tiles[index + 1], memory);
    warp.commit_copies();
    softmax_tile(warp, args, position, page.view_start + tile.token, n_tokens, score, state);
    warp.wait_copies_but_one();
    warp.sync();
    round_weights(warp, page, score, memory);
    if (page.v_offset != nullptr) add_offsets(warp, score, memory, state);
    warp.sync();
    if constexpr (trellis) store_paths<false>(warp, page.v_format, padded, memory);
    add_values<trellis>(warp, args, page, padded, memory, state);
    warp.sync();
    if (index + 1 < end_tile) copy_values(warp, args, args.tiles[index + 1], memory);
    warp.commit_copies();
  }

  // A row whose query is no number gives NaN.
  float* acc = memory.acc();
  RECALLD_UNROLL
  for (int column = 0; column < 2; ++column) {
    const int row = 2 * part + column;
    const bool bad = warp.shuffle(finite ? 0 : 1, 4 * row) != 0;
    const float sum = sum_groups(warp, state.l[column]);
    if (group == 0) {
      memory.m[row] = bad ? not_a_number() : state.m[column];
      memory.l[row] = bad ? not_a_number() : sum;
    }
    RECALLD_UNROLL
    for (int chunk = 0; chunk < kChunks; ++chunk) RECALLD_UNROLL
    for (int dim = 0; dim < 4; ++dim) {
      const int j = 32 * chunk + 4 * group + dim;
      if (j < args.shape.head_dim)
        acc[row * args.shape.head_dim + j] = bad ? not_a_number() : state.acc[chunk][dim][column];
    }
  }
  warp.sync();
}

}  // namespace recalld::kernels::cuda
