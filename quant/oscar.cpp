#include "quant/oscar.h"

#include <bit>
#include <cmath>

namespace recalld::quant {
namespace {

constexpr int kBits = 2;
// Keeps the eigenvectors of a rank-deficient target orthogonal; they do not depend on it otherwise.
constexpr double kDamping = 1e-6;

int reversed_bits(int value, int n) {
  int out = 0;
  for (int bit = 1; bit < n; bit *= 2) out = out * 2 + ((value & bit) != 0 ? 1 : 0);
  return out;
}

}  // namespace

Matrix oscar_rotation(int n, const Matrix& target) {
  const Eigen eigen = symmetric_eigen(n, damped(n, target, kDamping));
  const auto size = static_cast<size_t>(n);
  // U's column c is the eigenvector of the c-th smallest eigenvalue.
  Matrix u(size * size), hp(size * size);
  for (size_t row = 0; row < size; ++row)
    for (size_t c = 0; c < size; ++c) u[row * size + c] = eigen.vectors[(size - 1 - c) * size + row];
  // perm[bitrev(i)] = sorted[i], sorted by descending eigenvalue: n - 1 - i. Column j of H P is column perm[j] of H.
  for (int i = 0; i < n; ++i) {
    const auto column = static_cast<size_t>(reversed_bits(i, n));
    for (int row = 0; row < n; ++row) {
      const bool odd = std::popcount(static_cast<unsigned>(row & (n - 1 - i))) % 2 != 0;
      hp[static_cast<size_t>(row) * size + column] = (odd ? -1.0 : 1.0) / std::sqrt(static_cast<double>(n));
    }
  }
  return multiply(n, u, hp);
}

Result<std::shared_ptr<const Codec>> make_oscar(const Calibration& calibration, int layer) {
  RECALLD_ASSIGN_OR_RETURN(const LayerCalibration* const of_layer, calibration.layer(layer));
  const LayerCalibration& from = *of_layer;
  if (!std::has_single_bit(static_cast<unsigned>(from.head_dim)))
    return unsupported("oscar-2 needs a head_dim that is a power of two, not " + std::to_string(from.head_dim));
  MatrixCodecOptions options = options_of_layer(calibration, layer, "oscar-2", kOscarId);
  options.tag.k = kernels::affine_band(kBits, from.head_dim);
  options.tag.v = kernels::affine_band(kBits, from.head_dim);
  options.k_clip = kOscarKeyClip;
  options.v_clip = kOscarValueClip;
  Digester digester;
  add_layer("oscar", calibration, options, &digester);
  options.digest = digester.finish();
  MatrixMaps maps;
  maps.k_encode = from.oscar_k;
  maps.k_query = from.oscar_k;
  maps.v_encode = from.oscar_v;
  maps.v_restore = transposed(from.head_dim, from.oscar_v);
  return std::shared_ptr<const Codec>(std::make_shared<MatrixCodec>(std::move(options), std::vector{std::move(maps)}));
}

}  // namespace recalld::quant
