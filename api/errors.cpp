#include "api/errors.h"

namespace recalld::api {
namespace {

std::string_view type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 408:
      return "timeout_error";
    case 409:
      return "conflict_error";
    case 429:
      return "rate_limit_error";
    case 503:
      return "unavailable_error";
    case 507:
      return "storage_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

}  // namespace

HttpError http_error(int status, std::string code, std::string message) {
  HttpError error{status, std::string(type_of(status)), std::move(code), std::move(message), "", std::nullopt};
  if (status == 429) error.retry_after_s = 1;
  if (status == 503) error.retry_after_s = 2;
  return error;
}

HttpError bad_field(std::string param, std::string message) {
  HttpError error = http_error(400, "invalid_argument", "");
  error.message = (param.empty() ? "the body" : param) + " " + std::move(message);
  error.param = std::move(param);
  return error;
}

HttpError unsupported_field(std::string param, std::string message) {
  HttpError error = bad_field(std::move(param), std::move(message));
  error.code = "unsupported";
  return error;
}

HttpError from_status(const Status& status, ErrorPlace place) {
  const std::string& message = status.message();
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
      return http_error(400, "invalid_argument", message);
    case StatusCode::kNotFound:
      return http_error(404, place == ErrorPlace::kOther ? "not_found" : "session_not_found", message);
    case StatusCode::kAlreadyExists:
      return http_error(409, "already_exists", message);
    case StatusCode::kUnauthenticated:
      return http_error(401, "invalid_api_key", message);
    case StatusCode::kPermissionDenied:
      return http_error(403, "permission_denied", message);
    case StatusCode::kTooLarge:
      if (place == ErrorPlace::kChat) return http_error(400, "context_length_exceeded", message);
      return http_error(413, "too_large", message);
    case StatusCode::kResourceExhausted:
      return http_error(429, "queue_full", message);
    case StatusCode::kStorageFull:
      return http_error(507, "storage_full", message);
    case StatusCode::kFailedPrecondition:
      return http_error(409, "conflict", message);
    case StatusCode::kUnsupported:
      return http_error(400, "unsupported", message);
    case StatusCode::kCancelled:
      return http_error(503, "cancelled", message);
    case StatusCode::kUnavailable:
      return http_error(503, "unavailable", message);
    case StatusCode::kCorrupt:
      return http_error(500, "corrupt", message);
    case StatusCode::kOk:
    case StatusCode::kInternal:
      break;
  }
  return http_error(500, "internal", message);
}

boost::json::object error_json(const HttpError& error) {
  boost::json::object inner;
  inner["message"] = error.message;
  inner["type"] = error.type;
  inner["param"] = error.param.empty() ? boost::json::value(nullptr) : boost::json::value(error.param);
  inner["code"] = error.code;
  return {{"error", std::move(inner)}};
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Payload Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 426:
      return "Upgrade Required";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 507:
      return "Insufficient Storage";
    default:
      return "Internal Server Error";
  }
}

}  // namespace recalld::api
