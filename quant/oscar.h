// oscar-2: OSCAR (arXiv 2605.17757) as its code has it: rows are rotated by M = U H P, one
// matrix for all KV heads of a layer, on each side; clipped at the rank floor(rho d) of their sizes, rho = 0.96 for
// keys and 0.92 for values; and coded with 2 bits, equal steps from the clipped row's least to its greatest number,
// scale and offset as halves. The 16-bit windows around it (first and newest tokens) are the cache's.
//
// U: eigenvectors, ascending, of E[q q^T] for keys and of the score-weighted second moment for values; H: Sylvester's
// Hadamard matrix / sqrt(d); P: bit reversal and flip. head_dim must be a power of two, as there.
#pragma once

#include "quant/calibration.h"
#include "quant/linear_algebra.h"
#include "quant/matrix_codec.h"

namespace recalld::quant {

inline constexpr uint16_t kOscarId = 3;
inline constexpr double kOscarKeyClip = 0.96, kOscarValueClip = 0.92;

// M of a symmetric positive semidefinite target; row vectors are coded as x M. n: a power of two.
Matrix oscar_rotation(int n, const Matrix& target);

// kUnsupported when head_dim is no power of two.
Result<std::shared_ptr<const Codec>> make_oscar(const Calibration& calibration, int layer);

}  // namespace recalld::quant
