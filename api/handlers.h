// The routes that answer at once, without the network: a request in, a response out. They call the Service and may
// block for milliseconds; verify and backup for longer. Run them off the network's threads.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "api/errors.h"
#include "api/keys.h"
#include "api/routes.h"
#include "daemon/service.h"

namespace recalld::api {

struct Request {
  Endpoint endpoint;
  std::string id;
  std::map<std::string, std::string> query;
  std::string content_type;  // media type, lower case, without parameters
  std::string body;
  Caller caller;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

Response json_response(int status, const boost::json::object& body);
Response error_response(const HttpError& error);

// All endpoints but kHealth, kReady, kMetrics, kChat and kWebSocket.
Response handle(const Request& request, daemon::Service& service);

// The body as an object; an empty one is {}. The error is 400 invalid_json.
std::optional<HttpError> parse_body(const std::string& body, boost::json::object* object);

}  // namespace recalld::api
