// The body of POST /v1/chat/completions, and the options of a WebSocket message, as a ChatRequest.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "daemon/service.h"

namespace recalld::api {

struct ChatCall {
  daemon::ChatRequest request;  // principal is left to the caller
  bool stream = false;
  bool include_usage = false;
};

// header_session: of X-Recalld-Session, or empty. model_id: the one that is served. An error names the field.
std::optional<HttpError> parse_chat(const boost::json::object& body, std::string_view header_session,
                                    std::string_view model_id, ChatCall* call);

// temperature, top_p, ..., stop, remember: fields shared with the WebSocket's "options".
std::optional<HttpError> parse_sampling(const boost::json::object& object, const std::string& prefix,
                                        daemon::ChatRequest* request);

// "s_..." and the like: 1 to 64 characters [A-Za-z0-9_-].
bool is_session_id(std::string_view text);

}  // namespace recalld::api
