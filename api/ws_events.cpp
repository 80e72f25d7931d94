#include "api/ws_events.h"

#include <boost/json/object.hpp>

#include "api/chat_request.h"
#include "api/fields.h"
#include "api/handlers.h"
#include "daemon/message_json.h"

namespace recalld::api {
namespace {

constexpr size_t kMaxIdBytes = 64;

std::optional<HttpError> parse_message(boost::json::object object, WsEvent* event) {
  object["role"] = "user";
  daemon::Message message;
  if (const auto problem = daemon::read_message(object, &message))
    return problem->unsupported ? unsupported_field(problem->field, problem->message)
                                : bad_field(problem->field, problem->message);
  if (message.text.empty()) return bad_field("content", "must not be empty");
  event->request.messages.push_back(std::move(message));
  Fields fields(object);
  const boost::json::object* options = fields.object("options");
  if (fields.failed()) return fields.error();
  return options == nullptr ? std::nullopt : parse_sampling(*options, "options.", &event->request);
}

}  // namespace

std::optional<HttpError> parse_ws_event(std::string_view text, WsEvent* event) {
  boost::json::object object;
  if (auto error = parse_body(std::string(text), &object)) return error;
  Fields fields(object);
  std::string type;
  fields.text("id", kMaxIdBytes, &event->id);
  fields.text("type", kMaxIdBytes, &type);
  if (!fields.failed() && type == "ping") {
    event->type = WsEvent::Type::kPing;
  } else if (!fields.failed() && type == "cancel") {
    event->type = WsEvent::Type::kCancel;
  } else if (!fields.failed() && type == "message") {
    event->type = WsEvent::Type::kMessage;
    return parse_message(std::move(object), event);
  } else {
    fields.fail("type", "must be \"message\", \"cancel\" or \"ping\"");
  }
  return fields.error();
}

}  // namespace recalld::api
