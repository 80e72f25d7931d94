// Encoding by one warp of a stripe: 32 consecutive tokens of one side of a page. Rows are transformed one at a time by
// all lanes; then each lane codes a row of its own, summing in the CPU's order, so codes, scales and offsets are
// bit-equal with kernels/encode.h; then the lanes pack words. Bulk and append are one path: tokens before `first` keep
// their codes, tokens past the last in the stripe become zeros.
#pragma once

#include "kernels/cuda/lane/search.cuh"
#include "kernels/cuda/lane/transform.cuh"
#include "kernels/encode.h"
#include "kernels/layout.h"

namespace recalld::kernels::cuda {

struct Codebooks {
  Codebook of[3][3];  // [grid][bits - 2]
  RECALLD_LANE const Codebook& at(Grid grid, int bits) const { return of[static_cast<int>(grid)][bits - 2]; }
};

inline Codebooks codebooks() {
  Codebooks books;
  for (const Grid grid : {Grid::kLloydMax, Grid::kUniform, Grid::kTrellis})
    for (int bits = 2; bits <= 4; ++bits) books.of[static_cast<int>(grid)][bits - 2] = codebook(grid, bits);
  return books;
}

// How a side is coded: EncodeSpec in numbers.
struct EncodeSide {
  SideFormat format;
  ScaleRule rule = ScaleRule::kUnbiased;
  int32_t clip_rank = 0;
};

struct EncodeArgs {
  EncodeSide side[2];  // K, V
  int32_t head_dim = 0;
  const float* sign = nullptr;  // of the transform; null: rows are in the coded basis
  Codebooks books;
  SearchTables search;
};

// Rows of one side of one head to tokens [first, first + n_rows) of a page laid out for page_tokens.
struct EncodeJob {
  const float* rows = nullptr;  // of token `first`
  int64_t stride = 0;           // floats between rows
  const uint16_t* mean = nullptr;
  uint8_t* codes = nullptr;
  uint8_t* scales = nullptr;
  uint16_t* offsets = nullptr;
  int32_t page_tokens = 0;
  int32_t first = 0;
  int32_t n_rows = 0;
  int32_t side = 0;  // 0: K, 1: V
};

inline constexpr int kStripe = 32;

// trellis: that one of the sides may be on the trellis grid.
template <int kChunks, bool trellis>
struct EncodeMemory {
  static constexpr bool kTrellis = trellis;

  // Rows, then codes. The odd stride keeps lanes that walk along rows apart.
  float number[kStripe][32 * kChunks + 1];
  // What the search of paths decides, then path bits (search_path).
  uint16_t path[trellis ? 32 * kChunks : 1][kStripe];

  RECALLD_LANE uint32_t code(int row, int dim) const { return bits_as<uint32_t>(number[row][dim]); }
  RECALLD_LANE void set_code(int row, int dim, uint32_t code) { number[row][dim] = bits_as<float>(code); }
};

// NaN and infinity as 0, the rest within the range of halves.
RECALLD_LANE float safe_number(float x) {
  if (!is_number(x)) return 0;
  return x < -kLargestHalf ? -kLargestHalf : kLargestHalf < x ? kLargestHalf : x;
}

RECALLD_LANE float clamped(float x, float bound) { return x < -bound ? -bound : bound < x ? bound : x; }

struct CodedNumber {
  int code, rank;
};

// The nearest level by magnitude: antisymmetric levels need the positive boundaries alone.
RECALLD_LANE CodedNumber nearest_code(const Codebook& book, float z) {
  const int half = 1 << (book.bits - 1);
  int magnitude = 0;
  RECALLD_UNROLL
  for (int step = 0; step < 7; ++step)
    if (step < half - 1) magnitude += absolute(z) >= book.boundaries[half + step] ? 1 : 0;
  const int code = z < 0 ? half - 1 - magnitude : half + magnitude;
  return {code, code};
}

// The nearest level that the path allows. state: kernels/trellis.h; becomes that after the number.
RECALLD_LANE CodedNumber code_on_path(const Codebook& book, float z, int path, int& state) {
  const int subset = trellis_subset(state, path), half = 1 << (book.bits - 1);
  int place = 0;
  RECALLD_UNROLL
  for (int step = 0; step < 7; ++step)
    if (step < half - 1) place += z >= book.boundaries[7 * subset + step] ? 1 : 0;
  state = next_trellis_state(state, path);
  return {trellis_code(place, path, book.bits), place * kTrellisSubsets + subset};
}

// Codes bands [first_band, end_band) of a row, which share the scale that is returned.
template <class Memory>
RECALLD_LANE float code_bands(const EncodeArgs& args, const EncodeSide& side, int first_band, int end_band, int row,
                              Memory& memory) {
  const int begin = band_place(side.format, 0, first_band).first_dim;
  const int end = band_place(side.format, 0, end_band).first_dim;
  float square = 0;
  for (int i = begin; i < end; ++i) square = add(square, multiply(memory.number[row][i], memory.number[row][i]));
  const bool zero = !(square >= 1e-30F);
  const float to_unit = zero ? 0.0F : square_root(divide(static_cast<float>(end - begin), square));
  const bool trellis = Memory::kTrellis && side.format.grid == Grid::kTrellis;
  if constexpr (Memory::kTrellis) {
    if (trellis)
      search_path(
          args.search, side.format, [&](int dim) { return multiply(memory.number[row][dim], to_unit); },
          &memory.path[0][row], kStripe);
  }
  const float unit = args.books.at(side.format.grid, side.format.bands[first_band].bits).unit;
  float dot = 0, level_square = 0;
  int i = begin, state = 0;
  for (int band = first_band; band < end_band; ++band) {
    const Codebook& book = args.books.at(side.format.grid, side.format.bands[band].bits);
    float band_dot = 0, band_square = 0;
    for (const int band_end = i + side.format.bands[band].n_dims; i < band_end; ++i) {
      const float y = memory.number[row][i];
      const float z = multiply(y, to_unit);
      const CodedNumber coded =
          trellis ? code_on_path(book, z, memory.path[trellis ? i : 0][row], state) : nearest_code(book, z);
      const auto level = static_cast<float>(book.levels[coded.rank]);
      band_dot = add(band_dot, multiply(y, level));
      band_square = add(band_square, multiply(level, level));
      memory.set_code(row, i, static_cast<uint32_t>(coded.code));
    }
    const float ratio = divide(book.unit, unit);
    dot = add(dot, multiply(band_dot, ratio));
    level_square = add(level_square, multiply(band_square, multiply(ratio, ratio)));
  }
  if (zero) return 0;
  if (side.rule == ScaleRule::kMatched) return divide(square_root(divide(square, level_square)), unit);
  if (side.rule == ScaleRule::kUnbiased) return divide(square, multiply(dot, unit));
  return divide(dot, multiply(level_square, unit));
}

// Number `rank` of the ascending magnitudes of a row, bit by bit.
template <class Memory>
RECALLD_LANE float ranked_magnitude(const Memory& memory, int row, int n, int rank) {
  uint32_t found = 0;
  if (rank == n - 1) {
    for (int i = 0; i < n; ++i) {
      const uint32_t x = bits_as<uint32_t>(absolute(memory.number[row][i]));
      found = found < x ? x : found;
    }
    return bits_as<float>(found);
  }
  for (int bit = 30; bit >= 0; --bit) {
    const uint32_t candidate = found | 1u << bit;
    int below = 0;
    for (int i = 0; i < n; ++i) below += bits_as<uint32_t>(absolute(memory.number[row][i])) < candidate ? 1 : 0;
    if (below <= rank) found = candidate;
  }
  return bits_as<float>(found);
}

struct ScaleOffset {
  uint16_t scale = 0, offset = 0;
};

template <class Memory>
RECALLD_LANE ScaleOffset code_uniformly(const EncodeSide& side, int head_dim, int row, Memory& memory) {
  const float bound = ranked_magnitude(memory, row, head_dim, side.clip_rank);
  float low = side.format.offsets ? bound : -bound, high = -low;
  for (int i = 0; i < head_dim && side.format.offsets; ++i) {
    const float x = clamped(memory.number[row][i], bound);
    low = smaller(low, x);
    high = larger(high, x);
  }
  const auto top = static_cast<float>((1 << side.format.bands[0].bits) - 1);
  const float scale = divide(larger(subtract(high, low), 1e-8F), top);
  for (int i = 0; i < head_dim; ++i) {
    const float steps = divide(subtract(clamped(memory.number[row][i], bound), low), scale);
    memory.set_code(row, i, static_cast<uint32_t>(add(steps, 0.5F)));
  }
  return {half_bits(smaller(scale, kLargestHalf)),
          half_bits(safe_number(add(low, multiply(scale, multiply(0.5F, top)))))};
}

// Bits of the old word that tokens before `first` own: tokens of one word are `token`, of which the code of token
// quad q, place t is at bit 8 t + width q.
RECALLD_LANE uint32_t kept_bits(int token, int first, int width) {
  uint32_t kept = 0;
  for (int quad = 0; quad < 8 / width; ++quad)
    for (int place = 0; place < 4; ++place)
      if (token + 4 * quad + place < first) kept |= ((1u << width) - 1) << (8 * place + width * quad);
  return kept;
}

// Packs one band of K. Each lane writes the words of its own token.
template <class Memory, class Warp>
RECALLD_LANE void pack_keys(Warp& warp, const Band& band, int first_dim, int padded, int stripe, int first,
                            const Memory& memory, uint8_t* codes) {
  const int lane = warp.lane(), token = stripe * kStripe + lane;
  const int width = band.bits == 4 ? 4 : 2, places = 32 / width, n_blocks = band.n_dims / places;
  const bool writes = token >= first && token < padded;
  for (int block = 0; block < n_blocks && writes; ++block) {
    uint32_t word = 0;
    for (int i = 0; i < places; ++i) {
      const uint32_t code = memory.code(lane, first_dim + block * places + i) & ((1u << width) - 1);
      word |= code << (i % 4 * 8 + i / 4 * width);
    }
    memcpy(codes + ((token / 16) * n_blocks + block) * 64 + token % 16 * 4, &word, sizeof word);
  }
  if (band.bits != 3) return;
  uint8_t* high = codes + padded * band.n_dims / 4;
  for (int quad = 0; quad < band.n_dims / 4; ++quad) {
    uint32_t nibble = 0;
    for (int i = 0; i < 4; ++i) nibble |= (memory.code(lane, first_dim + 4 * quad + i) >> 2 & 1) << i;
    const uint32_t next = warp.shuffle_xor(nibble, 1);
    if (lane % 2 != 0 || token + 1 < first || token >= padded) continue;
    uint8_t& byte = high[(token / 16 * (band.n_dims / 4) + quad) * 8 + token % 16 / 2];
    byte = static_cast<uint8_t>((token < first ? byte & 15u : nibble) | next << 4);
  }
}

// Packs one band of V. Words hold several tokens of a dim.
template <class Memory, class Warp>
RECALLD_LANE void pack_values(Warp& warp, const Band& band, int first_dim, int padded, int stripe, int first,
                              const Memory& memory, uint8_t* codes) {
  const int width = band.bits == 4 ? 4 : 2, places = 32 / width, n_chunks = band.n_dims / 16;
  for (int i = warp.lane(); i < kStripe / places * band.n_dims; i += 32) {
    const int dim = i % band.n_dims, row = i / band.n_dims * places, token = stripe * kStripe + row;
    if (token >= padded || token + places <= first) continue;
    uint32_t word = 0;
    for (int t = 0; t < places; ++t) {
      const uint32_t code = memory.code(row + t, first_dim + dim) & ((1u << width) - 1);
      word |= code << (t % 4 * 8 + t / 4 * width);
    }
    uint8_t* to = codes + (token / places * n_chunks + dim / 16) * 64 + dim % 16 * 4;
    if (token < first) {
      const uint32_t kept = kept_bits(token, first, width);
      word = (word & ~kept) | (load<uint32_t>(to) & kept);
    }
    memcpy(to, &word, sizeof word);
  }
  if (band.bits != 3) return;
  uint8_t* high = codes + padded * band.n_dims / 4;
  for (int i = warp.lane(); i < kStripe / 4 * band.n_dims / 2; i += 32) {
    const int dim = i % (band.n_dims / 2) * 2, row = i / (band.n_dims / 2) * 4, token = stripe * kStripe + row;
    if (token >= padded || token + 4 <= first) continue;
    uint32_t bits = 0, kept = 0;
    for (int t = 0; t < 4; ++t) {
      bits |= (memory.code(row + t, first_dim + dim) >> 2 & 1) << t;
      bits |= (memory.code(row + t, first_dim + dim + 1) >> 2 & 1) << (4 + t);
      kept |= token + t < first ? 0x11u << t : 0u;
    }
    uint8_t& byte = high[token / 4 * n_chunks * 8 + dim / 2];
    byte = static_cast<uint8_t>((bits & ~kept) | (kept != 0 ? byte & kept : 0u));
  }
}

// As set_scale(), in one store.
RECALLD_LANE void store_scale(const SideFormat& format, uint8_t* scales, int index, uint16_t half) {
  if (format.byte_scales)
    scales[index] = scale_byte_of_half(half);
  else
    reinterpret_cast<uint16_t*>(scales)[index] = half;
}

// Encodes the job's tokens in stripe `stripe` of its page.
template <int kChunks, bool trellis, class Warp>
RECALLD_LANE void encode_stripe(Warp& warp, const EncodeArgs& args, const EncodeJob& job, int stripe,
                                EncodeMemory<kChunks, trellis>& memory) {
  const int lane = warp.lane(), head_dim = args.head_dim;
  const EncodeSide& side = args.side[job.side];
  const int padded = padded_tokens(job.page_tokens);
  const int end = job.first + job.n_rows;
  // Several rows at a time: their loads are under way together, and their butterflies hide each other's latency.
  constexpr int kTogether = kChunks == 8 ? 2 : 4;
  RECALLD_NO_UNROLL
  for (int first_row = 0; first_row < kStripe; first_row += kTogether) {
    float x[kTogether][kChunks];
    RECALLD_UNROLL
    for (int i = 0; i < kTogether * kChunks; ++i) {
      const int token = stripe * kStripe + first_row + i / kChunks, j = 32 * (i % kChunks) + lane;
      const bool exists = token >= job.first && token < end && j < head_dim;
      x[i / kChunks][i % kChunks] = exists ? safe_number(job.rows[(token - job.first) * job.stride + j]) : 0.0F;
    }
    RECALLD_UNROLL
    for (int row = 0; row < kTogether; ++row) {
      const int token = stripe * kStripe + first_row + row;
      const bool exists = token >= job.first && token < end;
      if (args.sign != nullptr) transform_row(warp, head_dim, args.sign, x[row]);
      RECALLD_UNROLL
      for (int i = 0; i < kChunks; ++i) {
        const int j = 32 * i + lane;
        if (job.mean != nullptr && exists && j < head_dim) x[row][i] = subtract(x[row][i], half_value(job.mean[j]));
        memory.number[first_row + row][j] = x[row][i];
      }
    }
  }
  warp.sync();

  const int token = stripe * kStripe + lane;
  const bool exists = token >= job.first && token < end;
  const bool writes = token >= job.first && token < padded;
  if (side.format.grid == Grid::kUniform) {
    const ScaleOffset coded = exists ? code_uniformly(side, head_dim, lane, memory) : ScaleOffset();
    if (writes) store_scale(side.format, job.scales, token, coded.scale);
    if (writes && job.offsets != nullptr) job.offsets[token] = coded.offset;
  } else {
    const int step = side.format.scale_per_band ? 1 : side.format.stored_bands();
    for (int band = 0; band < side.format.stored_bands(); band += step) {
      const float scale = exists ? code_bands(args, side, band, band + step, lane, memory) : 0.0F;
      if (writes)
        store_scale(side.format, job.scales, band / step * padded + token, half_bits(smaller(scale, kLargestHalf)));
    }
  }
  warp.sync();

  uint8_t* codes = job.codes;
  int first_dim = 0;
  for (int band = 0; band < side.format.stored_bands(); ++band) {
    const Band& at = side.format.bands[band];
    if (job.side == 0)
      pack_keys(warp, at, first_dim, padded, stripe, job.first, memory, codes);
    else
      pack_values(warp, at, first_dim, padded, stripe, job.first, memory, codes);
    codes += static_cast<size_t>(padded) * at.n_dims * at.bits / 8;
    first_dim += at.n_dims;
  }
  warp.sync();
}

// Mean of the rows, transformed, as halves: kernels::transformed_mean.
template <int kChunks, class Warp>
RECALLD_LANE void mean_of_rows(Warp& warp, int head_dim, const float* sign, const float* rows, int64_t stride,
                               int n_rows, uint16_t* mean) {
  float x[kChunks];
  RECALLD_UNROLL
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    x[i] = 0;
    for (int row = 0; row < n_rows && j < head_dim; ++row) x[i] = add(x[i], safe_number(rows[row * stride + j]));
    x[i] = multiply(x[i], divide(1.0F, static_cast<float>(n_rows)));
  }
  transform_row(warp, head_dim, sign, x);
  RECALLD_UNROLL
  for (int i = 0; i < kChunks; ++i) {
    const int j = 32 * i + warp.lane();
    if (j < head_dim) mean[j] = half_bits(safe_number(x[i]));
  }
}

}  // namespace recalld::kernels::cuda
