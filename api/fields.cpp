#include "api/fields.h"

#include <boost/json/array.hpp>
#include <boost/json/string.hpp>
#include <cmath>
#include <cstdio>

#include "daemon/json_text.h"
#include "daemon/service.h"

namespace recalld::api {
namespace {

std::string show(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", number);
  return text;
}

}  // namespace

const boost::json::value* Fields::find(std::string_view key) const {
  const boost::json::value* value = object_.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

void Fields::fail(std::string_view key, const std::string& message) {
  if (!failed()) error_ = bad_field(prefix_ + std::string(key), message);
}

void Fields::fail_unsupported(std::string_view key, const std::string& message) {
  if (!failed()) error_ = unsupported_field(prefix_ + std::string(key), message);
}

void Fields::wrong_type(std::string_view key, std::string_view type, const boost::json::value& found) {
  fail(key, "must be " + std::string(type) + ", not " + std::string(daemon::json_kind_name(found)));
}

void Fields::text(std::string_view key, size_t max_bytes, std::string* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  const std::string_view text = value->get_string();
  if (text.size() > max_bytes) return fail(key, "is longer than " + std::to_string(max_bytes) + " bytes");
  if (const Status status = daemon::check_text(text, "the text"); !status.ok())
    return fail(key, ": " + status.message());
  out->assign(text);
}

void Fields::boolean(std::string_view key, bool* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  if (!value->is_bool()) return wrong_type(key, "true or false", *value);
  *out = value->get_bool();
}

void Fields::number(std::string_view key, double least, double most, float* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  if (!value->is_number()) return wrong_type(key, "a number", *value);
  const double number = value->is_double()  ? value->get_double()
                        : value->is_int64() ? static_cast<double>(value->get_int64())
                                            : static_cast<double>(value->get_uint64());
  if (!std::isfinite(number) || number < least || number > most)
    return fail(key,
                "= " + show(number) + " is out of range; it must lie between " + show(least) + " and " + show(most));
  *out = static_cast<float>(number);
}

void Fields::integer(std::string_view key, int64_t least, int64_t most, int32_t* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  int64_t number = 0;
  if (value->is_int64()) {
    number = value->get_int64();
  } else if (value->is_uint64()) {
    number = INT64_MAX;
  } else if (value->is_double() && std::abs(value->get_double()) < 1e15 &&
             std::trunc(value->get_double()) == value->get_double()) {
    number = static_cast<int64_t>(value->get_double());
  } else {
    return wrong_type(key, "an integer", *value);
  }
  if (number < least || number > most)
    return fail(key, "= " + std::to_string(number) + " is out of range; it must lie between " + std::to_string(least) +
                         " and " + std::to_string(most));
  *out = static_cast<int32_t>(number);
}

void Fields::seed(std::string_view key, std::optional<uint64_t>* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  if (value->is_int64()) {
    *out = static_cast<uint64_t>(value->get_int64());
  } else if (value->is_uint64()) {
    *out = value->get_uint64();
  } else {
    wrong_type(key, "an integer", *value);
  }
}

void Fields::texts(std::string_view key, size_t most, std::vector<std::string>* out) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return;
  std::vector<std::string> found;
  if (value->is_string()) {
    found.emplace_back(value->get_string());
  } else if (const boost::json::array* array = value->if_array()) {
    for (const boost::json::value& item : *array) {
      if (!item.is_string()) return wrong_type(key, "a string or an array of strings", *value);
      found.emplace_back(item.get_string());
    }
  } else {
    return wrong_type(key, "a string or an array of strings", *value);
  }
  if (found.size() > most) return fail(key, "has more than " + std::to_string(most) + " strings");
  for (const std::string& text : found) {
    if (text.empty()) return fail(key, "must not hold an empty string");
    if (const Status status = daemon::check_text(text, "a string"); !status.ok())
      return fail(key, ": " + status.message());
  }
  *out = std::move(found);
}

const boost::json::object* Fields::object(std::string_view key) {
  const boost::json::value* value = wanted(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) wrong_type(key, "an object", *value);
  return value->if_object();
}

}  // namespace recalld::api
