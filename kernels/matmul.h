// Products of weight matrices, quantized and laid out as GGUF stores them, with activations rounded to 8 bits.
//
// The weights are used where they lie; a block of tokens expands sixteen rows at a time into scratch that fits a cache.
// out[t][r] = sum over blocks b of 32: scale_w * scale_x * dot(q_w - offset, q_x) + min_w * sum_x, in F32, added up in
// four running sums (b mod 4) that are joined at the end as (s0 + s1) + (s2 + s3). One token or many: every row of the
// result is bit for bit the same.
//
// Threads: all functions are pure but for their outputs; any thread, one scratch per thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace recalld::kernels {

// Blocks of 32 weights: a half scale, a half minimum (Q4_1 alone), the codes. 4-bit codes: low nibbles are weights 0 to
// 15, high nibbles 16 to 31. offset is subtracted from the codes of 0, 8 and, taken as unsigned bytes, 128.
enum class WeightFormat { kQ4_0, kQ4_1, kQ8_0 };

inline constexpr int kWeightBlock = 32;
inline constexpr int kMatmulRows = 16;  // rows of a tile

constexpr size_t weight_block_bytes(WeightFormat format) {
  return format == WeightFormat::kQ4_0 ? 18 : format == WeightFormat::kQ4_1 ? 20 : 34;
}

struct WeightMatrix {
  WeightFormat format = WeightFormat::kQ4_0;
  const std::byte* data = nullptr;  // [n_out] rows of n_in / 32 blocks, any alignment
  int32_t n_in = 0;                 // a multiple of 32
  int32_t n_out = 0;
};

// Four blocks of activations: x ~ scale * q with q = round(x * 127 / max |x|) in -127..127. Codes stand in the order in
// which a vector of 4-bit weights unpacks; the rest stands four times for each block, once per lane.
struct alignas(64) ActivationGroup {
  int8_t low[64];     // [4 blocks][16]: elements 0 to 15 of each block
  int8_t high[64];    // [4 blocks][16]: elements 16 to 31
  float scale[16];    // [4 blocks][4 copies]
  float sum[16];      // scale * sum of the codes
  int32_t total[16];  // sum of the codes
};

// Groups of a token of n_in activations; missing blocks of the last one are zero.
constexpr int activation_groups(int32_t n_in) { return (n_in / kWeightBlock + 3) / 4; }
constexpr size_t activation_bytes(int32_t n_in) {
  return static_cast<size_t>(activation_groups(n_in)) * sizeof(ActivationGroup);
}

// x: [n_in] to out: [activation_groups(n_in)]. A block with NaN or infinity gets the scale NaN.
void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out);

// Scratch that multiply() needs: 64-byte aligned.
size_t matmul_scratch_bytes(int32_t n_in);

// Rows [row_begin, row_end) of the product for n_tokens tokens: out[t * out_stride + row]. row_begin is a multiple of
// kMatmulRows. x: [n_tokens][activation_groups(n_in)].
void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride, std::byte* scratch);

// True where multiply() is faster than ggml's own product: AVX-512 with VNNI. Elsewhere it works, by plain loops.
bool matmul_is_fast();

namespace reference {
void quantize_activations(const float* x, int32_t n_in, ActivationGroup* out);
void multiply(const WeightMatrix& weights, const ActivationGroup* x, int32_t n_tokens, int32_t row_begin,
              int32_t row_end, float* out, size_t out_stride);
}  // namespace reference

}  // namespace recalld::kernels
