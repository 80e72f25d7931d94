// What a session's writer keeps in TrunkRow::state: where reading stopped, and how far embedding has come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace recalld::daemon {

struct ReadingPosition {
  uint64_t turn_offset = 0;  // tokens of the turn after the last whole one that are in the trunk
  uint64_t n_pending = 0;    // segments that were read and not embedded
  Digest128 encoder;         // what embedded the others
  std::vector<size_t> view;  // page groups that the block being read sees
};

// A list of little-endian u64.
std::vector<std::byte> pack_position(const ReadingPosition& position);
// kCorrupt for bytes that pack_position did not make.
Result<ReadingPosition> unpack_position(std::span<const std::byte> bytes);

}  // namespace recalld::daemon
