// How a trunk's young pages are kept by default.
//
// What is read next looks at the newest tokens most, and what it becomes is kept for good: read through 2-bit pages
// alone, the pages of a conversation answer worse than read through 16-bit ones. The newest few hundred tokens in 4
// bits win a part of that back, for few bytes (docs/results.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "episodes/trunk.h"

namespace recalld::episodes {

struct NearPages {
  std::string codec;   // "none16": 16 bits
  int32_t tokens = 0;  // how many of the newest are young
};

// What is in force beside old pages of `codec`. near_codec "": none16 where the codec's keys have 4 bits or more, else
// trellis-4. near_tokens 0: recent_tokens where young pages have 16 bits, else 384.
NearPages near_pages(std::string_view codec, std::string_view near_codec, int32_t near_tokens, int32_t recent_tokens);

// Sets near_plan and near_tokens of options, whose plan is set. kInvalidArgument for a codec that needs a calibration
// or does not exist.
Status set_near_pages(const NearPages& near, TrunkOptions* options);

}  // namespace recalld::episodes
