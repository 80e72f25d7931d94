// Members of a ZIP archive that are stored without compression, as torch.save writes them. Source: PKWARE's
// APPNOTE 6.3, sections 4.3.7, 4.3.12 and 4.3.16; not ZIP64.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "base/status.h"

namespace recalld::quant {

// Name to bytes, which lie in `archive`. kCorrupt, naming what is wrong, when this is no archive, it is cut, or a
// member does not match its CRC-32; kUnsupported for a member that is compressed.
Result<std::map<std::string, std::span<const std::byte>>> stored_members(std::span<const std::byte> archive);

}  // namespace recalld::quant
