// Errors as HTTP and JSON say them: {"error":{"message","type","param","code"}}.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>

#include "base/status.h"

namespace recalld::api {

struct HttpError {
  int status = 500;
  std::string type;
  std::string code;
  std::string message;
  std::string param;                 // the field it is about, or empty
  std::optional<int> retry_after_s;  // the Retry-After header
};

// Statuses of the service. What a status means depends a little on the place: kTooLarge is a full window for a chat and
// a body too large elsewhere; kNotFound is a session nearly always.
enum class ErrorPlace { kChat, kSession, kOther };
HttpError from_status(const Status& status, ErrorPlace place);

// 400 invalid_request_error with code "invalid_argument" or "unsupported", about one field.
HttpError bad_field(std::string param, std::string message);
HttpError unsupported_field(std::string param, std::string message);

HttpError http_error(int status, std::string code, std::string message);

// {"error": {...}}
boost::json::object error_json(const HttpError& error);

// "Not Found" for 404.
std::string_view reason_phrase(int status);

}  // namespace recalld::api
