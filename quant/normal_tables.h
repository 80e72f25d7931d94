// rANS tables of rounded numbers that are nearly normal, and the choice among them: integers whose mean and variance
// the coder and the decoder both know are coded with no counts and no tables in the stream.
//
// The tables are made by stated sequences of IEEE operations, so that every machine has the same; sources that include
// this are compiled without contraction.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "quant/rans.h"

namespace recalld::quant {

// How an integer m is coded: the table for its upper part m >> shift, less `centre`; the lower bits as they are.
struct NormalPlace {
  uint16_t table = 0;
  uint8_t shift = 0;
  int32_t centre = 0;
};

class NormalTables {
 public:
  // A variance that fits no table is shifted down, two octaves a bit: at a deviation of 2.8 or more the density hardly
  // changes within one step.
  static constexpr int kClasses = 36;  // of variance, four an octave from 1/16 to 32
  static constexpr int kPhases = 8;    // of the mean between integers
  static constexpr int kMaxShift = 20;
  // Symbols 0..62 are differences -31..31 to the centre; 63: any other, up to 24 bits, as it is.
  static constexpr int32_t kMiddle = 31;
  static constexpr uint32_t kEscape = 63;
  static constexpr int kEscapeBits = 24;

  // The tables, made when they are first asked for; any thread.
  static const NormalTables& get();

  const RansTable& table(const NormalPlace& place) const { return tables_[place.table]; }

  // variance: positive and finite. |mean| below 2^23.
  static NormalPlace place(float mean, float variance) {
    int variance_class = static_cast<int>(std::bit_cast<uint32_t>(variance) >> 21) - kFirstClass;
    int shift = 0;
    if (variance_class >= kClasses) {
      shift = std::min((variance_class - kClasses) / 8 + 1, kMaxShift);
      variance_class = std::min(variance_class - 8 * shift, kClasses - 1);
    }
    variance_class = std::max(variance_class, 0);
    const auto step = static_cast<float>(1 << shift);
    const float upper = (mean - (step - 1.0F) * 0.5F) * std::bit_cast<float>((127 - shift) << 23) + 0.5F;
    const float centre = std::floor(upper);
    const int phase = static_cast<int>((upper - centre) * static_cast<float>(kPhases));
    return {static_cast<uint16_t>(variance_class * kPhases + std::min(phase, kPhases - 1)), static_cast<uint8_t>(shift),
            static_cast<int32_t>(centre)};
  }

 private:
  NormalTables();

  static constexpr int kFirstClass = 123 * 4;  // the exponent's and two upper fraction bits of 1/16

  std::vector<RansTable> tables_;  // [kClasses][kPhases]
};

// One text for both directions. A Coder has
//   static constexpr bool kReads               whether it fills in what it is given or takes it
//   void symbol(const RansTable& table, uint32_t& symbol)
//   void bits(uint32_t& value, int n_bits)     0..10 of them, all values equally likely
// |value| is below 2^23; what is read is below 2^24 * 2^shift in size, whatever the stream.
template <class Coder>
void code_normal(Coder& coder, const NormalTables& tables, const NormalPlace& place, int64_t& value) {
  uint32_t symbol = NormalTables::kEscape, low = 0;
  int64_t difference = 0;
  if constexpr (!Coder::kReads) {
    low = static_cast<uint32_t>(value & ((int64_t{1} << place.shift) - 1));
    difference = (value >> place.shift) - place.centre;
    if (difference >= -NormalTables::kMiddle && difference <= NormalTables::kMiddle) {
      const auto wanted = static_cast<uint32_t>(difference + NormalTables::kMiddle);
      if (tables.table(place).ranges[wanted].frequency != 0) symbol = wanted;
    }
  }
  coder.symbol(tables.table(place), symbol);
  if (symbol == NormalTables::kEscape) {
    constexpr int kPiece = 8;
    auto folded = static_cast<uint32_t>(difference < 0 ? -2 * difference - 1 : 2 * difference);
    uint32_t read = 0;
    for (int at = 0; at < NormalTables::kEscapeBits; at += kPiece) {
      uint32_t piece = folded >> at & ((1U << kPiece) - 1);
      coder.bits(piece, kPiece);
      read |= piece << at;
    }
    folded = read;
    difference = (folded & 1) != 0 ? -static_cast<int64_t>(folded / 2) - 1 : static_cast<int64_t>(folded / 2);
  } else {
    difference = static_cast<int64_t>(symbol) - NormalTables::kMiddle;
  }
  if (place.shift > 0) {
    constexpr int kPiece = 10;
    uint32_t read = 0;
    for (int at = 0; at < place.shift; at += kPiece) {
      const int n = std::min(place.shift - at, kPiece);
      uint32_t piece = low >> at & ((1U << n) - 1);
      coder.bits(piece, n);
      read |= piece << at;
    }
    low = read;
  }
  value = (difference + place.centre) * (int64_t{1} << place.shift) + low;
}

}  // namespace recalld::quant
