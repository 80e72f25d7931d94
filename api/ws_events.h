// What a WebSocket client may say (docs/http.md).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "daemon/service.h"

namespace recalld::api {

struct WsEvent {
  enum class Type { kMessage, kCancel, kPing } type = Type::kPing;
  std::string id;               // echoed, or empty
  daemon::ChatRequest request;  // of kMessage: one message, sampling, remember
};

// Fills event; with an error, event->id is set if it could be read.
std::optional<HttpError> parse_ws_event(std::string_view text, WsEvent* event);

}  // namespace recalld::api
