// The randomised Hadamard transform: T x = H (s * x), with s random signs and H an orthonormal Hadamard matrix.
//
// For a head_dim that is no power of two H is block-diagonal, one block per power of two in head_dim's binary
// expansion, the largest first (80 = 64 + 16, 96 = 64 + 32). T is orthogonal: it keeps lengths and dot products, and
// spreads the energy of any vector over all coordinates of a block, which then look Gaussian to a fixed quantizer. The
// signs are never left out: without them a vector with a large mean becomes one huge coordinate. Sources: Ailon and
// Chazelle 2006; QuaRot (arXiv 2404.00456) for its use on keys and values.
//
// Every implementation runs the butterflies of a block from the largest stride to stride 1, in f32, and scales by
// 1 / sqrt(block) last. A butterfly is one addition and one subtraction, so results are bit-equal on every target.
//
// Threads: pure functions. head_dim is a multiple of 16 up to kMaxHeadDim. NaN stays within its row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/layout.h"

namespace recalld::kernels {

// s, as +1 and -1. The first head_dim entries serve any head_dim.
struct SignFlips {
  alignas(64) float sign[kMaxHeadDim];
};

// The signs of a seed (SplitMix64, one bit each). Part of the page format: never changes for a given seed.
SignFlips sign_flips(uint64_t seed);

// out = T in, for n_rows rows; rows of `in` are `stride` floats apart, those of `out` head_dim. in == out is allowed
// when stride == head_dim. Allocates nothing.
void hadamard(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out);

// rows = T^-1 rows, [n_rows][head_dim] in place. Allocates nothing.
void inverse_hadamard(const SignFlips& flips, int head_dim, int n_rows, float* rows);

namespace reference {
void hadamard(const SignFlips& flips, int head_dim, int n_rows, const float* in, size_t stride, float* out);
void inverse_hadamard(const SignFlips& flips, int head_dim, int n_rows, float* rows);
}  // namespace reference

}  // namespace recalld::kernels
