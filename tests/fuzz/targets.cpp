#include "tests/fuzz/targets.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace recalld::testing {

const FuzzTarget& fuzz_target(std::string_view name) {
  for (const FuzzTarget* target :
       {&kPagesTarget, &kRestTarget, &kArchiveTarget, &kCalibrationTarget, &kRotationsTarget})
    if (target->name == name) return *target;
  throw std::invalid_argument("there is no fuzz target " + std::string(name));
}

void change(Bytes& bytes, size_t max_bytes, Random& random) {
  for (auto left = 1 + random() % 4; left > 0; --left) {
    if (bytes.empty()) bytes.resize(1);
    // Headers and tables are a small part of the bytes and deserve half of the changes.
    const size_t range = random() % 2 == 0 ? std::min<size_t>(bytes.size(), 400) : bytes.size();
    const size_t at = random() % range;
    switch (random() % 8) {
      case 0:
        bytes.resize(at);
        break;
      case 1:
        bytes[at] ^= std::byte{1} << random() % 8;
        break;
      case 2:
        bytes[at] = random() % 2 == 0 ? std::byte{0} : std::byte{0xFF};
        break;
      case 3: {
        const size_t n = std::min<size_t>(1 + random() % 16, max_bytes - std::min(max_bytes, bytes.size()));
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), n, static_cast<std::byte>(random() >> 8));
        break;
      }
      case 4: {
        const size_t from = random() % bytes.size();
        const size_t n = std::min<size_t>(1 + random() % 16, bytes.size() - std::max(at, from));
        std::copy_n(Bytes(bytes).begin() + static_cast<std::ptrdiff_t>(from), n,
                    bytes.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      }
      default:
        bytes[at] = static_cast<std::byte>(random() >> 8);
    }
  }
}

}  // namespace recalld::testing
