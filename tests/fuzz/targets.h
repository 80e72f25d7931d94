// Bytes that come from disk, read as the product reads them: the work of the fuzzers (fuzzer.cpp, built by
// scripts/fuzz) and of a short seeded run in the test suite (mutation_test.cpp).
#pragma once

#include <cstddef>
#include <random>
#include <span>
#include <string_view>
#include <vector>

namespace recalld::testing {

using Bytes = std::vector<std::byte>;
using Random = std::minstd_rand;

struct FuzzTarget {
  std::string_view name;
  size_t max_bytes;  // of an input
  // Small inputs that are read to the end, of every kind there is.
  std::vector<Bytes> (*seeds)();
  // False when the bytes are refused. Throws std::logic_error when something that must hold does not.
  bool (*read)(std::span<const std::byte> bytes);
  // Makes bytes that were changed anywhere look right again, most of the time: checksums and sizes, so that what lies
  // behind them is reached. At most max_bytes afterwards.
  void (*mend)(Bytes& bytes, Random& random);
};

// "pages", "rest", "archive", "calibration", "rotations".
const FuzzTarget& fuzz_target(std::string_view name);

// One to four changes anywhere, half of them within the first 400 bytes: set, flipped, cut off, repeated or moved. What
// libFuzzer does, without its memory of what was worth it.
void change(Bytes& bytes, size_t max_bytes, Random& random);

extern const FuzzTarget kPagesTarget, kRestTarget, kArchiveTarget, kCalibrationTarget, kRotationsTarget;

}  // namespace recalld::testing
