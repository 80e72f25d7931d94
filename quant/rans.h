// Entropy coding with known symbol frequencies: range asymmetric numeral systems (rANS; Duda, arXiv 1311.2540 section
// 2.3), four interleaved states of 32 bits renormalised by 16-bit words, frequencies of 11 bits.
//
// Symbol i of a stream is coded by state i mod 4. A stream is: the four states after coding, then the words in the
// order in which decoding takes them, all little endian. Not thread-safe; distinct objects are independent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace recalld::quant {

inline constexpr int kRansScaleBits = 11;
inline constexpr uint32_t kRansScale = 1U << kRansScaleBits;
inline constexpr size_t kRansStates = 4;
inline constexpr size_t kRansMaxSymbols = 64;

// What coding and decoding with given frequencies needs.
struct RansTable {
  struct Range {
    uint16_t frequency = 0;  // 0: the symbol cannot be coded
    uint16_t first = 0;      // of its slots
  };
  std::array<Range, kRansMaxSymbols> ranges{};
  std::array<uint8_t, kRansScale> symbols{};  // of each slot

  size_t n_symbols() const;  // up to the last that can be coded

  // In proportion to the counts, by largest remainder, ties to the lower symbol; at least 1 for a symbol that occurs.
  // At most kRansMaxSymbols counts, together less than 2^52. Without any the table codes symbol 0 alone.
  static RansTable of_counts(std::span<const uint32_t> counts);

  // kCorrupt unless the frequencies add up to kRansScale.
  static Result<RansTable> of_frequencies(std::span<const uint16_t> frequencies);
};

// Collects the symbols of a stream; coding runs backwards, from the last.
class RansEncoder {
 public:
  void put(RansTable::Range range) { ranges_.push_back(range); }
  // The n_bits lowest bits of value, all values being equally likely. n_bits: 0..10.
  void put_bits(uint32_t value, int n_bits);
  // Appends the stream to `out`.
  void finish(std::vector<std::byte>& out) const;

 private:
  std::vector<RansTable::Range> ranges_;
};

// Reads never go past the stream: beyond its end words are 0, and finish() says that it was left.
class RansDecoder {
 public:
  // `stream` outlives the decoder.
  explicit RansDecoder(std::span<const std::byte> stream);

  uint32_t get(const RansTable& table);
  uint32_t get_bits(int n_bits);
  // The next n symbols, the i-th coded by tables[which[i]]. n is a multiple of 4.
  void get_row(const RansTable* tables, const uint8_t* which, uint8_t* symbols, int n);

  // True once more was asked for than the stream has.
  bool overrun() const { return overrun_; }
  // True when the stream was taken to its last word and the states are where coding began: any other is not one that
  // an encoder wrote.
  bool finish() const;

 private:
  uint32_t next_word();
  void renormalise(uint32_t& state);

  const std::byte* at_;
  const std::byte* end_;
  std::array<uint32_t, kRansStates> states_{};
  size_t turn_ = 0;  // whose state has the next symbol
  bool overrun_ = false;
};

}  // namespace recalld::quant
