#include "episodes/unit_vectors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/bytes.h"

namespace recalld::episodes {

float dot(std::span<const float> a, std::span<const float> b) {
  // Eight running sums, so that the compiler can keep them in one register without changing the order of additions.
  constexpr size_t kLanes = 8;
  float sums[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  }
  for (; i < a.size(); ++i) sums[0] += a[i] * b[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void normalize(std::span<float> a) {
  const float norm = std::sqrt(dot(a, a));
  if (norm == 0.0f) return;
  for (float& value : a) value /= norm;
}

bool has_direction(std::span<const float> a) {
  return std::ranges::any_of(a, [](float value) { return value != 0.0f; });
}

void UnitVectors::add(std::span<const float> unit) {
  for (const float value : unit) halves_.push_back(float_to_half(value));
}

void UnitVectors::add_halves(std::span<const std::byte> row) {
  const size_t before = halves_.size();
  halves_.resize(before + dim_);
  std::memcpy(halves_.data() + before, row.data(), dim_ * sizeof(uint16_t));
}

void UnitVectors::get(size_t i, std::span<float> out) const {
  const uint16_t* row = halves_.data() + i * dim_;
  for (size_t at = 0; at < dim_; ++at) out[at] = half_to_float(row[at]);
}

std::span<const std::byte> UnitVectors::halves(size_t i) const {
  return std::as_bytes(std::span(halves_.data() + i * dim_, dim_));
}

}  // namespace recalld::episodes
