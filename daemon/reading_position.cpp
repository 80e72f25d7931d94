#include "daemon/reading_position.h"

#include <cstring>

namespace recalld::daemon {
namespace {

constexpr size_t kFixedWords = 4;

}  // namespace

std::vector<std::byte> pack_position(const ReadingPosition& position) {
  std::vector<uint64_t> words{position.turn_offset, position.n_pending, position.encoder.low, position.encoder.high};
  words.insert(words.end(), position.view.begin(), position.view.end());
  std::vector<std::byte> bytes(words.size() * sizeof(uint64_t));
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

Result<ReadingPosition> unpack_position(std::span<const std::byte> bytes) {
  std::vector<uint64_t> words(bytes.size() / sizeof(uint64_t));
  if (words.size() < kFixedWords || bytes.size() % sizeof(uint64_t) != 0)
    return corrupt("the stored reading position makes no sense");
  std::memcpy(words.data(), bytes.data(), bytes.size());
  return ReadingPosition{words[0], words[1], {words[2], words[3]}, {words.begin() + kFixedWords, words.end()}};
}

}  // namespace recalld::daemon
