// Trellis-coded quantization of numbers in units of the step: entropy-coded TCQ (Marcellin and Fischer, IEEE Trans.
// Commun. 1990; Fischer and Wang, IEEE Trans. Inf. Theory 1992) with the union codebooks of JPEG 2000 part 2.
//
// Every number becomes an integer index and comes back as index times step. Indices of four kinds, index mod 4, label
// the branches of a trellis of 256 states: a state takes either the even indices or the odd ones, so an entropy coder
// that knows the state codes one of integers two steps apart, and the Viterbi search chooses among all paths the one of
// least error. At equal entropy the error is 1.33 dB below that of rounding to integers (1.53 dB is the limit):
// .2457 step^2, .033 bits per number above the rate-distortion bound.
//
// The rate: with indices coded for a normal distribution of the given mean and variance, error + lambda bits at
// lambda = 2 ln 2 error is, up to a constant, the squared distance to pull_to_mean(x): the search takes pulled numbers
// and needs no tables. The pulled index is its own centroid, so that reconstruction needs no tables either.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace recalld::quant {

// Mean squared error over step^2.
inline constexpr float kTrellisError = 0.2457F;

// What minimises error plus rate for x, expected at `mean` with `variance`, all in units of the step.
inline float pull_to_mean(float x, float mean, float variance) {
  return mean + (x - mean) * (variance / (variance + kTrellisError));
}

// Walks the trellis along indices; the decoder's half of it.
class TrellisState {
 public:
  static constexpr int kBits = 8;

  // 0: the next index is even; 1: odd.
  int parity() const { return kLabels[state_] & 1; }
  // index: of the right parity.
  void advance(int32_t index) {
    const int input = (index >> 1 & 1) ^ kLabels[state_] >> 1;
    state_ = static_cast<uint8_t>(state_ << 1 | input);
  }

 private:
  friend class TrellisQuantizer;
  // Found by search among the pairs that keep branches into a state within one parity.
  static constexpr unsigned kParityTaps = 0x32, kBranchTaps = 0xAB;
  static constexpr auto kLabels = [] {
    std::array<uint8_t, 1 << kBits> labels{};
    for (unsigned s = 0; s < labels.size(); ++s)
      labels[s] =
          static_cast<uint8_t>((std::popcount(s & kParityTaps) & 1) | (std::popcount(s & kBranchTaps) & 1) << 1);
    return labels;
  }();
  uint8_t state_ = 0;
};

// Holds the memory of the search, half a MiB. Not thread-safe; distinct objects are independent.
class TrellisQuantizer {
 public:
  // Numbers beyond this are clamped to it; NaN counts as 0.
  static constexpr float kLargest = 1 << 20;

  TrellisQuantizer();
  // The indices of x on the best path from `state`, which is left where the path ends. The same on every machine.
  void quantize(std::span<const float> x, TrellisState& state, std::span<int32_t> indices);

 private:
  // Paths are chosen for this many numbers at a time: a fixed begin costs some 8 numbers a part of the gain.
  static constexpr size_t kSegment = 2048;
  static constexpr int kStates = 1 << TrellisState::kBits;

  void segment(std::span<const float> x, TrellisState& state, std::span<int32_t> indices);

  // [kSegment][2][kStates / 2]: whether the best path into state 2 j + i came from j + 128, else from j; [i][j].
  std::vector<uint8_t> from_upper_;
  std::array<int16_t, kStates / 2> odd_{}, swapped_{};
};

}  // namespace recalld::quant
