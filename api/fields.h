// Reads typed fields of a JSON object that came from outside. The first problem is kept; after it nothing is read.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/errors.h"

namespace recalld::api {

class Fields {
 public:
  // The object outlives the reader. prefix stands before field names in messages ("options.").
  explicit Fields(const boost::json::object& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  // Each leaves *out alone when the field is missing or null.
  void text(std::string_view key, size_t max_bytes, std::string* out);
  void boolean(std::string_view key, bool* out);
  void number(std::string_view key, double least, double most, float* out);
  void integer(std::string_view key, int64_t least, int64_t most, int32_t* out);
  // Any 64-bit integer; a negative one is taken by its bits.
  void seed(std::string_view key, std::optional<uint64_t>* out);
  // A string, or an array of at most `most` strings; none empty.
  void texts(std::string_view key, size_t most, std::vector<std::string>* out);

  // Null when missing or null.
  const boost::json::value* find(std::string_view key) const;
  const boost::json::object* object(std::string_view key);

  void fail(std::string_view key, const std::string& message);
  void fail_unsupported(std::string_view key, const std::string& message);
  bool failed() const { return error_.has_value(); }
  const std::optional<HttpError>& error() const { return error_; }

 private:
  const boost::json::value* wanted(std::string_view key) const { return failed() ? nullptr : find(key); }
  void wrong_type(std::string_view key, std::string_view type, const boost::json::value& found);

  const boost::json::object& object_;
  std::string prefix_;
  std::optional<HttpError> error_;
};

}  // namespace recalld::api
