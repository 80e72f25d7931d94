// JSON as text from outside: parsed with a bound on nesting, and errors that say where.
#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "base/status.h"

namespace recalld::daemon {

inline constexpr int kMaxJsonDepth = 32;

// The one JSON value in text. kInvalidArgument with line, column and reason otherwise; never throws. The text may start
// with a byte order mark. first_line is the number of the text's first line in the file it comes from.
Result<boost::json::value> parse_json(std::string_view text, size_t first_line = 1);

// "a string", "an array", ...: for messages about a wrong type.
std::string_view json_kind_name(const boost::json::value& value);

}  // namespace recalld::daemon
