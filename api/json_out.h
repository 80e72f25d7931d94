// JSON as people like to read it: 315.216 instead of 3.15216E2.
#pragma once

#include <boost/json/value.hpp>
#include <string>

namespace recalld::api {

std::string to_json(const boost::json::value& value);

}  // namespace recalld::api
