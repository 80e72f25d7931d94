// f32 functions fixed to the last bit: each is a stated sequence of IEEE additions and multiplications, none fused, so
// that the vector kernels, which spell out the same sequence, and the reference give equal bits on every target. The
// rounded integers of decode attention depend on them.
//
// Files that include this must be compiled without contraction (-ffp-contract=off, kernels/CMakeLists.txt).
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace recalld::kernels {

// Adding and subtracting 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer, ties to even.
inline constexpr float kRoundMagic = 12582912.0F;

inline float round_even(float x) { return (x + kRoundMagic) - kRoundMagic; }

// Constants of exp: x = n ln 2 + r with ln 2 in two parts (n times the first is exact), then a polynomial in r.
// Source: Cephes expf (Moshier 1989).
inline constexpr float kExpLowest = -87.0F;  // exp of anything below counts as 0
inline constexpr float kExpLog2e = 1.44269504088896341F;
inline constexpr float kExpLn2High = 0.693359375F;
inline constexpr float kExpLn2Low = -2.12194440e-4F;
inline constexpr float kExpCoefficients[6] = {1.9875691500e-4F, 1.3981999507e-3F, 8.3334519073e-3F,
                                              4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F};

// exp(x) for x <= 0, relative error below 2e-7; 0 for x < kExpLowest, minus infinity included; NaN for NaN.
inline float exact_exp(float x) {
  if (x < kExpLowest) return 0.0F;
  if (!(x <= 0.0F)) return x == x ? 1.0F : x;
  const float shifted = x * kExpLog2e + kRoundMagic;
  const float n = shifted - kRoundMagic;
  const float r = (x - n * kExpLn2High) - n * kExpLn2Low;
  float p = kExpCoefficients[0];
  for (int i = 1; i < 6; ++i) p = p * r + kExpCoefficients[i];
  p = (p * (r * r) + r) + 1.0F;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRoundMagic);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}

// Sum of 16 numbers: halves are added until one is left.
inline float fold16(const float* x) {
  float y[8];
  for (int i = 0; i < 8; ++i) y[i] = x[i] + x[i + 8];
  for (int i = 0; i < 4; ++i) y[i] += y[i + 4];
  return (y[0] + y[2]) + (y[1] + y[3]);
}

// Rounding of queries to 8 bits: x ~ round_even(x * inverse) * scale.
struct QueryScale {
  float scale = 0;
  float inverse = 0;
};

inline QueryScale query_scale(float largest) {
  // Below this the inverse would overflow, and the scores are 0 to f32 anyway.
  if (!(largest > 1e-30F)) return {};
  return {largest / 127.0F, 127.0F / largest};
}

inline constexpr float kNegativeInfinity = -std::numeric_limits<float>::infinity();

}  // namespace recalld::kernels
