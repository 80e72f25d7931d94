// libFuzzer's view of the target RECALLD_FUZZ_TARGET.
#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tests/fuzz/targets.h"

namespace {

const recalld::testing::FuzzTarget& target() {
  static const recalld::testing::FuzzTarget& found = recalld::testing::fuzz_target(RECALLD_FUZZ_TARGET);
  return found;
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  recalld::testing::Bytes bytes(begin, begin + size);
  recalld::testing::Random random(seed);
  target().mend(bytes, random);
  if (bytes.size() > max_size) return size;
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  target().read({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
