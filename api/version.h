// The version of this build.
#pragma once

#include <string_view>

namespace recalld::api {

inline constexpr std::string_view kVersion = RECALLD_VERSION;

}  // namespace recalld::api
