#include "api/json_out.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cmath>
#include <cstdio>

namespace recalld::api {
namespace {

void append(const boost::json::value& value, std::string* text) {
  if (const boost::json::object* object = value.if_object()) {
    char before = '{';
    for (const auto& [key, member] : *object) {
      *text += before;
      *text += boost::json::serialize(key) + ":";
      append(member, text);
      before = ',';
    }
    *text += before == '{' ? "{}" : "}";
  } else if (const boost::json::array* array = value.if_array()) {
    char before = '[';
    for (const boost::json::value& item : *array) {
      *text += before;
      append(item, text);
      before = ',';
    }
    *text += before == '[' ? "[]" : "]";
  } else if (value.is_double() && std::isfinite(value.get_double())) {
    char number[40];
    std::snprintf(number, sizeof number, "%.10g", value.get_double());
    *text += number;
  } else {
    *text += boost::json::serialize(value);
  }
}

}  // namespace

std::string to_json(const boost::json::value& value) {
  std::string text;
  append(value, &text);
  return text;
}

}  // namespace recalld::api
