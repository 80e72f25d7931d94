// How a trunk's young pages are kept by default.
//
// What is read next looks at the newest tokens most, and what it becomes is kept for good: read through 2-bit pages
// alone, the pages of a conversation answer worse than read through 16-bit ones; with the newest few hundred in 4 bits
// most of that is gone (docs/results.md).
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "episodes/trunk.h"

namespace recalld::episodes {

// "none16" beside a codec whose keys have 4 bits or more, else "turboquant-4".
std::string_view default_near_codec(std::string_view codec);

// Sets near_plan and near_tokens of options for old pages of `codec`; options->plan and recent_tokens are set.
// near_codec: "" for the default. near_tokens: 0 for recent_tokens where young pages have 16 bits, else 384.
// kInvalidArgument for a near_codec that needs a calibration or does not exist.
Status set_near_pages(std::string_view codec, std::string_view near_codec, int32_t near_tokens, TrunkOptions* options);

}  // namespace recalld::episodes
