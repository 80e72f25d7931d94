#include "daemon/json_text.h"

#include <algorithm>
#include <boost/json/stream_parser.hpp>
#include <new>

namespace recalld::daemon {
namespace {

std::string place(std::string_view text, size_t at, size_t first_line) {
  const std::string_view before = text.substr(0, std::min(at, text.size()));
  const size_t line = first_line + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
  const size_t newline = before.rfind('\n');
  const size_t column = before.size() - (newline == std::string_view::npos ? 0 : newline + 1) + 1;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

std::string reason(boost::system::error_code error) {
  if (error == boost::json::error::too_deep) return "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels";
  if (error == boost::json::error::incomplete) return "the text ends too early";
  if (error == boost::json::error::extra_data) return "something follows the value";
  return error.message();
}

}  // namespace

Result<boost::json::value> parse_json(std::string_view text, size_t first_line) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  boost::json::parse_options options;
  options.max_depth = kMaxJsonDepth;
  try {
    boost::json::stream_parser parser({}, options);
    boost::system::error_code error;
    size_t used = parser.write_some(text.data(), text.size(), error);
    if (!error && used < text.size()) error = boost::json::error::extra_data;
    if (!error) {
      parser.finish(error);
      used = text.size();
    }
    if (error) return invalid_argument("not valid JSON at " + place(text, used, first_line) + ": " + reason(error));
    return parser.release();
  } catch (const std::bad_alloc&) {
    return resource_exhausted("not enough memory to parse the JSON; send less at once");
  } catch (const std::exception& e) {
    return invalid_argument(std::string("not valid JSON: ") + e.what());
  }
}

std::string_view json_kind_name(const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return "null";
    case boost::json::kind::bool_:
      return "a boolean";
    case boost::json::kind::int64:
    case boost::json::kind::uint64:
      return "an integer";
    case boost::json::kind::double_:
      return "a number";
    case boost::json::kind::string:
      return "a string";
    case boost::json::kind::array:
      return "an array";
    case boost::json::kind::object:
      return "an object";
  }
  return "a value";
}

}  // namespace recalld::daemon
