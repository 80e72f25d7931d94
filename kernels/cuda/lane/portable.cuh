// What lane code needs of its machine, for nvcc and for a plain C++ compiler: the same bits from both.
//
// Lane code is the mathematics of one lane of a warp. It takes its warp as a template argument: warp.cuh on a GPU, an
// emulation in tests. Everything here is a pure function.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"
#include "kernels/exact_math.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define RECALLD_LANE __host__ __device__ __forceinline__
#define RECALLD_UNROLL _Pragma("unroll")
#define RECALLD_NO_UNROLL _Pragma("unroll 1")
#else
#define RECALLD_LANE inline
#define RECALLD_UNROLL
#define RECALLD_NO_UNROLL
#endif

namespace recalld::kernels::cuda {

template <class To, class From>
RECALLD_LANE To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

// IEEE operations that are never fused: results are bit-equal with the CPU's.
RECALLD_LANE float multiply(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

RECALLD_LANE float add(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

RECALLD_LANE float subtract(float a, float b) { return add(a, -b); }

RECALLD_LANE float divide(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

RECALLD_LANE float square_root(float x) {
#if defined(__CUDA_ARCH__)
  return __fsqrt_rn(x);
#else
  return std::sqrt(x);
#endif
}

RECALLD_LANE float absolute(float x) { return bits_as<float>(bits_as<uint32_t>(x) & 0x7fffffffu); }
RECALLD_LANE float larger(float a, float b) { return a < b ? b : a; }
RECALLD_LANE float smaller(float a, float b) { return b < a ? b : a; }
// False for NaN and infinity.
RECALLD_LANE bool is_number(float x) { return (bits_as<uint32_t>(x) & 0x7f800000u) != 0x7f800000u; }
RECALLD_LANE float minus_infinity() { return bits_as<float>(0xff800000u); }
RECALLD_LANE float not_a_number() { return bits_as<float>(0x7fc00000u); }

// exp(x) for x <= 0: within a few units in the last place of each other on the two machines.
RECALLD_LANE float weight_exp(float x) {
#if defined(__CUDA_ARCH__)
  return __expf(x);
#else
  return exact_exp(x);
#endif
}

RECALLD_LANE float half_value(uint16_t half) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(half));
#else
  return half_to_float(half);
#endif
}

RECALLD_LANE uint16_t half_bits(float value) {
#if defined(__CUDA_ARCH__)
  return __half_as_ushort(__float2half_rn(value));
#else
  return float_to_half(value);
#endif
}

// The instruction prmt: byte i of the result is byte (selector >> 4 i) & 7 of the eight bytes low, high; where bit 3 of
// that selector is set, its sign in all bits.
RECALLD_LANE uint32_t permute_bytes(uint32_t low, uint32_t high, uint32_t selector) {
#if defined(__CUDA_ARCH__)
  uint32_t result;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(result) : "r"(low), "r"(high), "r"(selector));
  return result;
#else
  const uint64_t pool = low | static_cast<uint64_t>(high) << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t nibble = selector >> 4 * i & 15;
    uint32_t byte = static_cast<uint32_t>(pool >> 8 * (nibble & 7)) & 255;
    if (nibble & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << 8 * i;
  }
  return result;
#endif
}

RECALLD_LANE uint32_t reverse_bits(uint32_t x) {
#if defined(__CUDA_ARCH__)
  return __brev(x);
#else
  uint32_t reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
#endif
}

// Four bytes whose values are the low bytes of a, b, c, d.
RECALLD_LANE uint32_t pack_bytes(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return permute_bytes(permute_bytes(a, b, 0x0040), permute_bytes(c, d, 0x0040), 0x5410);
}

// Loads of aligned words.
template <class T>
RECALLD_LANE T load(const void* from) {
#if defined(__CUDA_ARCH__)
  return *static_cast<const T*>(from);
#else
  T value;
  memcpy(&value, from, sizeof value);
  return value;
#endif
}

// Stores of aligned words.
template <class T>
RECALLD_LANE void store(void* to, const T& value) {
#if defined(__CUDA_ARCH__)
  *static_cast<T*>(to) = value;
#else
  memcpy(to, &value, sizeof value);
#endif
}

struct alignas(8) Words2 {
  uint32_t word[2];
};
struct alignas(16) Words4 {
  uint32_t word[4];
};

}  // namespace recalld::kernels::cuda
