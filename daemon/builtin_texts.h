// Files of data/ that are built into the program.
#pragma once

#include <string_view>

namespace recalld::daemon {

extern const std::string_view kSampleMixed;
extern const std::string_view kSampleProse;
extern const std::string_view kSampleConversation;  // NDJSON, daemon/import.h

}  // namespace recalld::daemon
