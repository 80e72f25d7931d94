#include "quant/normal_tables.h"

#include <array>

namespace recalld::quant {
namespace {

// Shares are counted in 2^-20 of the largest.
constexpr float kUnit = 1 << 20;
// What would have less than a third of a slot is left to the escape, and all of it together has one or more.
constexpr float kLeastSlots = 0.33F;

// Student's density with 16 degrees of freedom, by the squared distance in variances: means and variances are
// estimates, and what is far off is less rare than a normal density says. It costs normal numbers .0015 bits.
float density(float square) {
  const float base = 1.0F + square / 14.0F, second = base * base, fourth = second * second;
  return 1.0F / (fourth * fourth * std::sqrt(base));
}

RansTable table_of(float variance, float mean) {
  std::array<float, kRansMaxSymbols> shares{};
  float sum = 0, left_out = 0;
  for (int s = 0; s <= 2 * NormalTables::kMiddle; ++s) {
    const float distance = static_cast<float>(s - NormalTables::kMiddle) - mean;
    shares[static_cast<size_t>(s)] = density(distance * distance / variance);
    sum += shares[static_cast<size_t>(s)];
  }
  const float least = sum * kLeastSlots / static_cast<float>(kRansScale);
  for (float& share : shares)
    if (share < least) {
      left_out += share;
      share = 0;
    }
  shares[NormalTables::kEscape] = left_out;
  std::array<uint32_t, kRansMaxSymbols> counts{};
  for (size_t s = 0; s < counts.size(); ++s) counts[s] = static_cast<uint32_t>(shares[s] * kUnit);
  counts[NormalTables::kEscape] = std::max(counts[NormalTables::kEscape], 1U);
  return RansTable::of_counts(counts);
}

}  // namespace

const NormalTables& NormalTables::get() {
  static const NormalTables tables;
  return tables;
}

NormalTables::NormalTables() {
  tables_.reserve(static_cast<size_t>(kClasses) * kPhases);
  for (int c = 0; c < kClasses; ++c) {
    // The middle of the class.
    const float variance = std::bit_cast<float>((static_cast<uint32_t>(kFirstClass + c) << 21) + (1U << 20));
    for (int phase = 0; phase < kPhases; ++phase)
      tables_.push_back(table_of(variance, (static_cast<float>(phase) + 0.5F) / kPhases - 0.5F));
  }
}

}  // namespace recalld::quant
