#include "quant/trellis.h"

#include <algorithm>
#include <cmath>

namespace recalld::quant {
namespace {

// Squared distances are counted in 1/256: at most 1024 for one number, as indices of a kind are 4 apart.
constexpr float kCostScale = 256.0F;
constexpr int kRenormalise = 8;
// Beyond the cost of any path of 8 numbers; paths from a state other than the first never win.
constexpr int16_t kUnreachable = 16000;

float sane(float x) {
  if (!(std::abs(x) <= TrellisQuantizer::kLargest)) x = x != x ? 0.0F : std::copysign(TrellisQuantizer::kLargest, x);
  return x;
}

// The index of kind `kind` (mod 4) next to x.
int32_t nearest(float x, int kind) {
  const auto k = static_cast<float>(kind);
  return static_cast<int32_t>(std::floor((x - k) * 0.25F + 0.5F)) * 4 + kind;
}

int16_t cost(float x, int kind) {
  const float error = x - static_cast<float>(nearest(x, kind));
  return static_cast<int16_t>(error * error * kCostScale);
}

}  // namespace

TrellisQuantizer::TrellisQuantizer() : from_upper_(kSegment * kStates) {
  for (size_t s = 0; s < odd_.size(); ++s) {
    odd_[s] = static_cast<int16_t>(-(TrellisState::kLabels[s] & 1));
    swapped_[s] = static_cast<int16_t>(-(TrellisState::kLabels[s] >> 1));
  }
}

void TrellisQuantizer::quantize(std::span<const float> x, TrellisState& state, std::span<int32_t> indices) {
  for (size_t first = 0; first < x.size(); first += kSegment) {
    const size_t n = std::min(kSegment, x.size() - first);
    segment(x.subspan(first, n), state, indices.subspan(first, n));
  }
}

void TrellisQuantizer::segment(std::span<const float> x, TrellisState& state, std::span<int32_t> indices) {
  constexpr int kHalf = kStates / 2;
  std::array<int16_t, kStates> paths, next;
  paths.fill(kUnreachable);
  paths[state.state_] = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const float value = sane(x[i]);
    const int16_t costs[4] = {cost(value, 0), cost(value, 1), cost(value, 2), cost(value, 3)};
    const auto low = static_cast<int16_t>(costs[0] ^ costs[1]), high = static_cast<int16_t>(costs[2] ^ costs[3]);
    uint8_t* from_upper = from_upper_.data() + i * kStates;
    // State s is entered from s / 2 and s / 2 + 128, whose labels differ in the branch alone.
    for (int j = 0; j < kHalf; ++j) {
      const auto a0 = static_cast<int16_t>(costs[0] ^ (low & odd_[j])),
                 b0 = static_cast<int16_t>(costs[2] ^ (high & odd_[j]));
      const auto flip = static_cast<int16_t>((a0 ^ b0) & swapped_[j]);
      const auto a = static_cast<int16_t>(a0 ^ flip), b = static_cast<int16_t>(b0 ^ flip);
      const auto even_lower = static_cast<int16_t>(paths[j] + a),
                 even_upper = static_cast<int16_t>(paths[j + kHalf] + b);
      const auto odd_lower = static_cast<int16_t>(paths[j] + b), odd_upper = static_cast<int16_t>(paths[j + kHalf] + a);
      next[2 * j] = std::min(even_lower, even_upper);
      next[2 * j + 1] = std::min(odd_lower, odd_upper);
      from_upper[j] = static_cast<uint8_t>(even_upper < even_lower);
      from_upper[j + kHalf] = static_cast<uint8_t>(odd_upper < odd_lower);
    }
    paths = next;
    if (i % kRenormalise == kRenormalise - 1) {
      int16_t least = paths[0];
      for (const int16_t path : paths) least = std::min(least, path);
      for (int16_t& path : paths) path = static_cast<int16_t>(path - least);
    }
  }
  auto at = static_cast<size_t>(std::ranges::min_element(paths) - paths.begin());
  state.state_ = static_cast<uint8_t>(at);
  for (size_t i = x.size(); i-- > 0;) {
    const size_t input = at & 1;
    const bool upper = from_upper_[i * kStates + at / 2 + input * kHalf] != 0;
    at = at / 2 + (upper ? kHalf : 0);
    const int label = TrellisState::kLabels[at];
    const int kind = (label & 1) | (static_cast<int>(input) ^ label >> 1) << 1;
    indices[i] = nearest(sane(x[i]), kind);
  }
}

}  // namespace recalld::quant
