// Two ways that give the same bits (kernels/matmul.h states the order of the sums):
//  - few tokens: a row at a time, four blocks to a vector: lane = (block, four elements). Bound by reading the weights.
//  - many tokens: sixteen rows are expanded so that lane = row; each step multiplies four elements of all rows with
//  four
//    broadcast activation bytes. Bound by the multiplier.
#include "kernels/cpu/matmul_vnni.h"

#if defined(__x86_64__)

// GCC's own AVX-512 headers use undefined vectors on purpose (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <limits>

#define RECALLD_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,f16c,fma")))
#define RECALLD_VNNI_INLINE RECALLD_VNNI __attribute__((always_inline)) inline

namespace recalld::kernels::vnni {
namespace {

// From here on expanding a tile pays.
constexpr int32_t kTileTokens = 12;
constexpr int kTokensAtOnce = 4;

template <WeightFormat format>
constexpr int kHeaderBytes = format == WeightFormat::kQ4_1 ? 4 : 2;
template <WeightFormat format>
constexpr int kOffsetShift = format == WeightFormat::kQ4_0   ? 3
                             : format == WeightFormat::kQ8_0 ? 7
                                                             : 0;
template <WeightFormat format>
constexpr bool kHasOffset = format != WeightFormat::kQ4_1;
template <WeightFormat format>
constexpr bool kHasMin = format == WeightFormat::kQ4_1;

RECALLD_VNNI_INLINE __m128i load16(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

RECALLD_VNNI_INLINE __m512i join(__m128i a, __m128i b, __m128i c, __m128i d) {
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(c), d, 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Four blocks of a row as unsigned codes, with scales and minima in the lanes of their block.
struct RowGroup {
  __m512i low, high;
  __m512 scale, min;
};

template <WeightFormat format>
RECALLD_VNNI_INLINE RowGroup load_group(const std::byte* at) {
  constexpr size_t kBytes = weight_block_bytes(format);
  RowGroup group;
  const std::byte* codes = at + kHeaderBytes<format>;
  const __m512i first =
      join(load16(codes), load16(codes + kBytes), load16(codes + 2 * kBytes), load16(codes + 3 * kBytes));
  if constexpr (format == WeightFormat::kQ8_0) {
    const __m512i second = join(load16(codes + 16), load16(codes + 16 + kBytes), load16(codes + 16 + 2 * kBytes),
                                load16(codes + 16 + 3 * kBytes));
    const __m512i flip = _mm512_set1_epi8(static_cast<char>(0x80));
    group.low = _mm512_xor_si512(first, flip);
    group.high = _mm512_xor_si512(second, flip);
  } else {
    const __m512i nibble = _mm512_set1_epi8(15);
    group.low = _mm512_and_si512(first, nibble);
    group.high = _mm512_and_si512(_mm512_srli_epi16(first, 4), nibble);
  }
  // Half scale and, in the upper half of the dword, half minimum (other formats: the first two codes, unused).
  int32_t header[4];
  for (int b = 0; b < 4; ++b) std::memcpy(&header[b], at + b * kBytes, sizeof(int32_t));
  const __m512 halves =
      _mm512_castps256_ps512(_mm256_cvtph_ps(_mm_set_epi32(header[3], header[2], header[1], header[0])));
  group.scale = _mm512_permutexvar_ps(_mm512_set_epi32(6, 6, 6, 6, 4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0), halves);
  if constexpr (kHasMin<format>) {
    group.min = _mm512_permutexvar_ps(_mm512_set_epi32(7, 7, 7, 7, 5, 5, 5, 5, 3, 3, 3, 3, 1, 1, 1, 1), halves);
  }
  return group;
}

// Adds one group to the running sums of a token: lanes 4b to 4b+3 all hold the sum of block b.
template <WeightFormat format>
RECALLD_VNNI_INLINE __m512 add_group(__m512 sums, const RowGroup& w, const ActivationGroup& x) {
  __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w.low, _mm512_load_si512(x.low));
  dot = _mm512_dpbusd_epi32(dot, w.high, _mm512_load_si512(x.high));
  dot = _mm512_add_epi32(dot, _mm512_shuffle_epi32(dot, _MM_PERM_BADC));
  dot = _mm512_add_epi32(dot, _mm512_shuffle_epi32(dot, _MM_PERM_CDAB));
  if constexpr (kHasOffset<format>) {
    dot = _mm512_sub_epi32(dot, _mm512_slli_epi32(_mm512_load_si512(x.total), kOffsetShift<format>));
  }
  sums = _mm512_fmadd_ps(_mm512_mul_ps(w.scale, _mm512_load_ps(x.scale)), _mm512_cvtepi32_ps(dot), sums);
  if constexpr (kHasMin<format>) sums = _mm512_fmadd_ps(w.min, _mm512_load_ps(x.sum), sums);
  return sums;
}

RECALLD_VNNI_INLINE float join_sums(__m512 sums) {
  alignas(64) float lanes[16];
  _mm512_store_ps(lanes, sums);
  return (lanes[0] + lanes[4]) + (lanes[8] + lanes[12]);
}

// One row with n tokens (at most kTokensAtOnce).
template <WeightFormat format, int n>
RECALLD_VNNI void multiply_row(const std::byte* row, int32_t n_blocks, const ActivationGroup* x, size_t x_stride,
                               float* out, size_t out_stride) {
  constexpr size_t kBytes = weight_block_bytes(format);
  __m512 sums[n];
  for (int t = 0; t < n; ++t) sums[t] = _mm512_setzero_ps();
  // The header is read as four bytes and codes as sixteen: never past the last block.
  const int32_t whole = n_blocks / 4;
  for (int32_t g = 0; g < whole; ++g) {
    const RowGroup w = load_group<format>(row + static_cast<size_t>(g) * 4 * kBytes);
    for (int t = 0; t < n; ++t) sums[t] = add_group<format>(sums[t], w, x[t * x_stride + g]);
  }
  if (n_blocks % 4 != 0) {
    std::byte last[4 * kBytes] = {};
    std::memcpy(last, row + static_cast<size_t>(whole) * 4 * kBytes, static_cast<size_t>(n_blocks % 4) * kBytes);
    const RowGroup w = load_group<format>(last);
    for (int t = 0; t < n; ++t) sums[t] = add_group<format>(sums[t], w, x[t * x_stride + whole]);
  }
  for (int t = 0; t < n; ++t) out[t * out_stride] = join_sums(sums[t]);
}

// Sixteen rows with lane = row. codes: [block][8 quads][16 rows][4]; scale, min: [block][16 rows].
struct Tile {
  uint8_t* codes;
  float* scale;
  float* min;
};

Tile make_tile(std::byte* scratch, int32_t n_blocks) {
  auto* codes = reinterpret_cast<uint8_t*>(scratch);
  auto* scale = reinterpret_cast<float*>(codes + static_cast<size_t>(n_blocks) * kWeightBlock * kMatmulRows);
  return {codes, scale, scale + static_cast<size_t>(n_blocks) * kMatmulRows};
}

template <WeightFormat format>
RECALLD_VNNI void expand_row(const std::byte* row, int32_t n_blocks, int r, const Tile& tile) {
  constexpr size_t kBytes = weight_block_bytes(format);
  for (int32_t b = 0; b < n_blocks; ++b) {
    const std::byte* at = row + static_cast<size_t>(b) * kBytes;
    uint16_t halves[2];
    std::memcpy(halves, at, sizeof halves);
    tile.scale[b * kMatmulRows + r] = _cvtsh_ss(halves[0]);
    tile.min[b * kMatmulRows + r] = kHasMin<format> ? _cvtsh_ss(halves[1]) : 0.0F;
    const __m128i first = load16(at + kHeaderBytes<format>);
    __m128i low;
    __m128i high;
    if constexpr (format == WeightFormat::kQ8_0) {
      const __m128i flip = _mm_set1_epi8(static_cast<char>(0x80));
      low = _mm_xor_si128(first, flip);
      high = _mm_xor_si128(load16(at + kHeaderBytes<format> + 16), flip);
    } else {
      const __m128i nibble = _mm_set1_epi8(15);
      low = _mm_and_si128(first, nibble);
      high = _mm_and_si128(_mm_srli_epi16(first, 4), nibble);
    }
    alignas(16) int32_t quads[8];
    _mm_store_si128(reinterpret_cast<__m128i*>(quads), low);
    _mm_store_si128(reinterpret_cast<__m128i*>(quads + 4), high);
    uint8_t* to = tile.codes + static_cast<size_t>(b) * kWeightBlock * kMatmulRows + r * 4;
    for (int i = 0; i < 8; ++i) std::memcpy(to + i * 4 * kMatmulRows, &quads[i], sizeof(int32_t));
  }
}

RECALLD_VNNI_INLINE int32_t load_quad(const int8_t* at) {
  int32_t quad;
  std::memcpy(&quad, at, sizeof quad);
  return quad;
}

// Adds block b (b mod 4 = at) to the sums of n tokens: sums[t] over the lanes' rows.
template <WeightFormat format, int n>
RECALLD_VNNI_INLINE void add_block(const Tile& tile, int32_t b, int at, const ActivationGroup* const* x, __m512* sums) {
  const uint8_t* codes = tile.codes + static_cast<size_t>(b) * kWeightBlock * kMatmulRows;
  __m512i dot[n];
  for (int t = 0; t < n; ++t) {
    dot[t] = _mm512_set1_epi32(kHasOffset<format> ? -(x[t]->total[at * 4] << kOffsetShift<format>) : 0);
  }
#pragma GCC unroll 4
  for (int quad = 0; quad < 4; ++quad) {
    const __m512i low = _mm512_load_si512(codes + quad * 64);
    const __m512i high = _mm512_load_si512(codes + (quad + 4) * 64);
    for (int t = 0; t < n; ++t) {
      dot[t] = _mm512_dpbusd_epi32(dot[t], low, _mm512_set1_epi32(load_quad(x[t]->low + at * 16 + quad * 4)));
      dot[t] = _mm512_dpbusd_epi32(dot[t], high, _mm512_set1_epi32(load_quad(x[t]->high + at * 16 + quad * 4)));
    }
  }
  const __m512 scale = _mm512_load_ps(tile.scale + static_cast<size_t>(b) * kMatmulRows);
  for (int t = 0; t < n; ++t) {
    sums[t] =
        _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(x[t]->scale[at * 4])), _mm512_cvtepi32_ps(dot[t]), sums[t]);
  }
  if constexpr (kHasMin<format>) {
    const __m512 min = _mm512_load_ps(tile.min + static_cast<size_t>(b) * kMatmulRows);
    for (int t = 0; t < n; ++t) sums[t] = _mm512_fmadd_ps(min, _mm512_set1_ps(x[t]->sum[at * 4]), sums[t]);
  }
}

template <WeightFormat format, int n>
RECALLD_VNNI void multiply_tile(const Tile& tile, int32_t n_blocks, const ActivationGroup* x, size_t x_stride,
                                __mmask16 rows, float* out, size_t out_stride) {
  __m512 sums[4][n];
  for (auto& part : sums) {
    for (int t = 0; t < n; ++t) part[t] = _mm512_setzero_ps();
  }
  const ActivationGroup* tokens[n];
  for (int t = 0; t < n; ++t) tokens[t] = x + t * x_stride;
  int32_t b = 0;
  for (; b + 4 <= n_blocks; b += 4) {
    add_block<format, n>(tile, b, 0, tokens, sums[0]);
    add_block<format, n>(tile, b + 1, 1, tokens, sums[1]);
    add_block<format, n>(tile, b + 2, 2, tokens, sums[2]);
    add_block<format, n>(tile, b + 3, 3, tokens, sums[3]);
    for (int t = 0; t < n; ++t) ++tokens[t];
  }
  if (b < n_blocks) add_block<format, n>(tile, b, 0, tokens, sums[0]);
  if (b + 1 < n_blocks) add_block<format, n>(tile, b + 1, 1, tokens, sums[1]);
  if (b + 2 < n_blocks) add_block<format, n>(tile, b + 2, 2, tokens, sums[2]);
  for (int t = 0; t < n; ++t) {
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[0][t], sums[1][t]), _mm512_add_ps(sums[2][t], sums[3][t]));
    _mm512_mask_storeu_ps(out + t * out_stride, rows, sum);
  }
}

template <WeightFormat format, int n>
void multiply_rows(const WeightMatrix& w, const ActivationGroup* x, int32_t row_begin, int32_t row_end, float* out,
                   size_t out_stride) {
  const int32_t n_blocks = w.n_in / kWeightBlock;
  const size_t row_bytes = static_cast<size_t>(n_blocks) * weight_block_bytes(format);
  const auto x_stride = static_cast<size_t>(activation_groups(w.n_in));
  for (int32_t r = row_begin; r < row_end; ++r) {
    multiply_row<format, n>(w.data + static_cast<size_t>(r) * row_bytes, n_blocks, x, x_stride, out + r, out_stride);
  }
}

template <WeightFormat format>
void multiply_few(const WeightMatrix& w, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin, int32_t row_end,
                  float* out, size_t out_stride) {
  const auto x_stride = static_cast<size_t>(activation_groups(w.n_in));
  for (int32_t t = 0; t < n_tokens; t += kTokensAtOnce) {
    const ActivationGroup* own = x + static_cast<size_t>(t) * x_stride;
    float* to = out + static_cast<size_t>(t) * out_stride;
    switch (std::min(n_tokens - t, kTokensAtOnce)) {
      case 1:
        multiply_rows<format, 1>(w, own, row_begin, row_end, to, out_stride);
        break;
      case 2:
        multiply_rows<format, 2>(w, own, row_begin, row_end, to, out_stride);
        break;
      case 3:
        multiply_rows<format, 3>(w, own, row_begin, row_end, to, out_stride);
        break;
      default:
        multiply_rows<format, 4>(w, own, row_begin, row_end, to, out_stride);
    }
  }
}

template <WeightFormat format>
void multiply_many(const WeightMatrix& w, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
                   int32_t row_end, float* out, size_t out_stride, std::byte* scratch) {
  const int32_t n_blocks = w.n_in / kWeightBlock;
  const size_t row_bytes = static_cast<size_t>(n_blocks) * weight_block_bytes(format);
  const auto x_stride = static_cast<size_t>(activation_groups(w.n_in));
  const Tile tile = make_tile(scratch, n_blocks);
  for (int32_t first = row_begin; first < row_end; first += kMatmulRows) {
    const int32_t n_rows = std::min(kMatmulRows, row_end - first);
    // Lanes past the last row repeat it; they are not stored.
    for (int r = 0; r < kMatmulRows; ++r) {
      const int32_t row = first + std::min(r, n_rows - 1);
      expand_row<format>(w.data + static_cast<size_t>(row) * row_bytes, n_blocks, r, tile);
    }
    const auto rows = static_cast<__mmask16>((1U << n_rows) - 1);
    int32_t t = 0;
    for (; t + kTokensAtOnce <= n_tokens; t += kTokensAtOnce) {
      multiply_tile<format, kTokensAtOnce>(tile, n_blocks, x + static_cast<size_t>(t) * x_stride, x_stride, rows,
                                           out + static_cast<size_t>(t) * out_stride + first, out_stride);
    }
    for (; t < n_tokens; ++t) {
      multiply_tile<format, 1>(tile, n_blocks, x + static_cast<size_t>(t) * x_stride, x_stride, rows,
                               out + static_cast<size_t>(t) * out_stride + first, out_stride);
    }
  }
}

template <WeightFormat format>
void multiply_format(const WeightMatrix& w, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
                     int32_t row_end, float* out, size_t out_stride, std::byte* scratch) {
  if (n_tokens < kTileTokens) return multiply_few<format>(w, x, n_tokens, row_begin, row_end, out, out_stride);
  multiply_many<format>(w, x, n_tokens, row_begin, row_end, out, out_stride, scratch);
}

RECALLD_VNNI_INLINE bool all_finite(__m512 x) { return _mm512_fpclass_ps_mask(x, 0x99) == 0; }

RECALLD_VNNI void quantize_block(const float* x, int b, ActivationGroup* group) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
  const bool finite = all_finite(low) && all_finite(high);
  const float scale = finite ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN();
  const __m512 inverse = _mm512_set1_ps(finite && largest > 0 ? 127.0F / largest : 0.0F);
  const auto keep = static_cast<__mmask16>(finite ? 0xFFFF : 0);
  const __m512i low_codes = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(low, inverse));
  const __m512i high_codes = _mm512_maskz_cvtps_epi32(keep, _mm512_mul_ps(high, inverse));
  _mm_store_si128(reinterpret_cast<__m128i*>(group->low + b * 16), _mm512_cvtepi32_epi8(low_codes));
  _mm_store_si128(reinterpret_cast<__m128i*>(group->high + b * 16), _mm512_cvtepi32_epi8(high_codes));
  const int32_t total = _mm512_reduce_add_epi32(_mm512_add_epi32(low_codes, high_codes));
  _mm_store_ps(group->scale + b * 4, _mm_set1_ps(scale));
  _mm_store_ps(group->sum + b * 4, _mm_set1_ps(scale * static_cast<float>(total)));
  _mm_store_si128(reinterpret_cast<__m128i*>(group->total + b * 4), _mm_set1_epi32(total));
}

}  // namespace

bool is_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}

void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out) {
  const int n_blocks = n_in / kWeightBlock;
  if (n_blocks % 4 != 0) std::memset(static_cast<void*>(&out[n_blocks / 4]), 0, sizeof(ActivationGroup));
  for (int b = 0; b < n_blocks; ++b) quantize_block(x + b * kWeightBlock, b % 4, &out[b / 4]);
}

void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride, std::byte* scratch) {
  switch (weights.format) {
    case WeightFormat::kQ4_0:
      return multiply_format<WeightFormat::kQ4_0>(weights, x, n_tokens, row_begin, row_end, out, out_stride, scratch);
    case WeightFormat::kQ4_1:
      return multiply_format<WeightFormat::kQ4_1>(weights, x, n_tokens, row_begin, row_end, out, out_stride, scratch);
    case WeightFormat::kQ8_0:
      return multiply_format<WeightFormat::kQ8_0>(weights, x, n_tokens, row_begin, row_end, out, out_stride, scratch);
  }
}

}  // namespace recalld::kernels::vnni

#else

namespace recalld::kernels::vnni {

bool is_supported() { return false; }
void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out) {
  reference::quantize_activations(x, n_in, out);
}
void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride, std::byte* /*scratch*/) {
  reference::multiply(weights, x, n_tokens, row_begin, row_end, out, out_stride);
}

}  // namespace recalld::kernels::vnni

#endif
