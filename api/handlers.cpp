#include "api/handlers.h"

#include <boost/json/array.hpp>

#include <charconv>

#include "api/chat_request.h"
#include "api/fields.h"
#include "api/json_out.h"
#include "api/shapes.h"
#include "daemon/import.h"
#include "daemon/json_text.h"
#include "daemon/message_json.h"

namespace recalld::api {
namespace {

constexpr size_t kMaxTitleBytes = 256;
constexpr int64_t kMaxTurnsAtOnce = 1000;

Response failed(const Status& status, ErrorPlace place) { return error_response(from_status(status, place)); }

Response get_models(daemon::Service& service) {
  return json_response(
      200, {{"object", "list"}, {"data", boost::json::array{boost::json::value(model_json(service.model()))}}});
}

Response get_model(const Request& request, daemon::Service& service) {
  const daemon::ModelCard card = service.model();
  if (request.id != card.id && request.id != "default")
    return error_response(
        http_error(404, "model_not_found", "the model \"" + request.id + "\" is not served; \"" + card.id + "\" is"));
  return json_response(200, model_json(card));
}

Response create_session(const Request& request, daemon::Service& service) {
  boost::json::object body;
  if (const auto error = parse_body(request.body, &body)) return error_response(*error);
  Fields fields(body);
  std::string title, style;
  fields.text("title", kMaxTitleBytes, &title);
  fields.text("style", kMaxTitleBytes, &style);
  if (!style.empty() && style != "template" && style != "plain")
    fields.fail("style", "= \"" + style + "\" is unknown; it must be \"template\" or \"plain\"");
  if (fields.failed()) return error_response(*fields.error());
  const auto created = service.create_session(request.caller.principal, title, style);
  if (!created.ok()) return failed(created.status(), ErrorPlace::kOther);
  Response response = json_response(201, session_json(*created));
  response.headers.emplace_back("Location", "/v1/sessions/" + created->id);
  return response;
}

Response list_sessions(const Request& request, daemon::Service& service) {
  const auto sessions = service.sessions(request.caller.principal);
  if (!sessions.ok()) return failed(sessions.status(), ErrorPlace::kOther);
  boost::json::array data;
  for (const daemon::SessionInfo& info : *sessions) data.push_back(session_json(info));
  return json_response(200, {{"object", "list"}, {"data", std::move(data)}});
}

std::optional<HttpError> query_number(const Request& request, const std::string& name, int64_t least, int64_t most,
                                      int64_t* out) {
  const auto found = request.query.find(name);
  if (found == request.query.end()) return std::nullopt;
  const std::string& text = found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (error == std::errc() && end == text.data() + text.size() && *out >= least && *out <= most) return std::nullopt;
  return bad_field(
      name, "= \"" + text + "\" must be an integer from " + std::to_string(least) + " to " + std::to_string(most));
}

Response get_session(const Request& request, daemon::Service& service) {
  int64_t with_turns = 0, first = 0, limit = 100;
  if (const auto error = query_number(request, "turns", 0, 1, &with_turns)) return error_response(*error);
  if (const auto error = query_number(request, "first", 0, INT64_MAX, &first)) return error_response(*error);
  if (const auto error = query_number(request, "limit", 1, kMaxTurnsAtOnce, &limit)) return error_response(*error);
  const auto info = service.session(request.caller.principal, request.id);
  if (!info.ok()) return failed(info.status(), ErrorPlace::kSession);
  boost::json::object body = session_json(*info);
  if (with_turns == 1) {
    const auto turns = service.turns(request.caller.principal, request.id, first, limit);
    if (!turns.ok()) return failed(turns.status(), ErrorPlace::kSession);
    boost::json::array list;
    for (const daemon::Turn& turn : *turns) list.push_back(turn_json(turn));
    const int64_t next = turns->empty() ? info->turns : turns->back().index + 1;
    body["turns"] = std::move(list);
    body["next"] = next < info->turns ? boost::json::value(next) : boost::json::value(nullptr);
  }
  return json_response(200, body);
}

Response delete_session(const Request& request, daemon::Service& service) {
  const Status status = service.remove_session(request.caller.principal, request.id);
  if (!status.ok()) return failed(status, ErrorPlace::kSession);
  return json_response(200, {{"id", request.id}, {"object", "session.deleted"}, {"deleted", true}});
}

Response get_memory(const Request& request, daemon::Service& service) {
  const auto info = service.memory(request.caller.principal, request.id);
  if (!info.ok()) return failed(info.status(), ErrorPlace::kSession);
  return json_response(200, memory_json(request.id, *info));
}

Response append(const Request& request, daemon::Service& service) {
  boost::json::object body;
  if (const auto error = parse_body(request.body, &body)) return error_response(*error);
  const boost::json::value* list = body.if_contains("messages");
  if (list == nullptr || !list->is_array() || list->get_array().empty())
    return error_response(bad_field("messages", "must be an array of at least one message"));
  const boost::json::array& array = list->get_array();
  if (array.size() > daemon::kMaxImportMessages)
    return error_response(http_error(
        413, "too_large",
        "messages holds more than " + std::to_string(daemon::kMaxImportMessages) + " messages; append them in parts"));
  std::vector<daemon::Message> messages(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    if (const auto problem = daemon::read_message(array[i], &messages[i])) {
      std::string name = "messages[" + std::to_string(i) + "]";
      if (!problem->field.empty()) name += "." + problem->field;
      return error_response(problem->unsupported ? unsupported_field(name, problem->message)
                                                 : bad_field(name, problem->message));
    }
  }
  const auto first = service.append(request.caller.principal, request.id, messages);
  if (!first.ok()) return failed(first.status(), ErrorPlace::kSession);
  return json_response(
      201, {{"object", "session.append"}, {"session", request.id}, {"first_turn", *first}, {"turns", messages.size()}});
}

Response import(const Request& request, daemon::Service& service) {
  const bool lines = request.content_type == "application/x-ndjson";
  const auto messages = lines ? daemon::parse_ndjson(request.body) : daemon::parse_locomo(request.body);
  if (!messages.ok()) return failed(messages.status().with_context("nothing was imported"), ErrorPlace::kOther);
  const auto result =
      service.import(request.caller.principal, request.id, *messages, daemon::messages_digest(*messages));
  if (!result.ok()) return failed(result.status(), ErrorPlace::kSession);
  return json_response(result->duplicate ? 200 : 201, {{"object", "session.import"},
                                                       {"session", request.id},
                                                       {"first_turn", result->first_turn},
                                                       {"turns", result->duplicate ? 0 : result->turns},
                                                       {"duplicate", result->duplicate}});
}

Response backup(const Request& request, daemon::Service& service) {
  boost::json::object body;
  if (const auto error = parse_body(request.body, &body)) return error_response(*error);
  Fields fields(body);
  std::string path;
  fields.text("path", 4096, &path);
  if (!path.starts_with('/')) fields.fail("path", "must be an absolute path on the daemon's machine");
  if (fields.failed()) return error_response(*fields.error());
  const Status status = service.backup(path);
  if (!status.ok()) return failed(status, ErrorPlace::kOther);
  return json_response(200, {{"object", "backup"}, {"path", path}});
}

Response verify(daemon::Service& service) {
  const auto checks = service.verify();
  if (!checks.ok()) return failed(checks.status(), ErrorPlace::kOther);
  bool ok = true;
  boost::json::array stores;
  for (const daemon::StoreCheck& check : *checks) {
    ok = ok && check.ok;
    boost::json::array problems(check.problems.begin(), check.problems.end());
    stores.push_back({{"name", check.name}, {"ok", check.ok}, {"problems", std::move(problems)}});
  }
  return json_response(200, {{"object", "verify"}, {"ok", ok}, {"stores", std::move(stores)}});
}

}  // namespace

Response json_response(int status, const boost::json::object& body) {
  Response response;
  response.status = status;
  response.body = to_json(body) + "\n";
  return response;
}

Response error_response(const HttpError& error) {
  Response response = json_response(error.status, error_json(error));
  if (error.retry_after_s) response.headers.emplace_back("Retry-After", std::to_string(*error.retry_after_s));
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

std::optional<HttpError> parse_body(const std::string& body, boost::json::object* object) {
  if (body.find_first_not_of(" \t\r\n") == std::string::npos) return std::nullopt;
  Result<boost::json::value> value = daemon::parse_json(body);
  if (!value.ok()) return http_error(400, "invalid_json", "the body is " + value.status().message());
  if (!value->is_object())
    return bad_field("", "must be an object, not " + std::string(daemon::json_kind_name(*value)));
  *object = std::move(value->get_object());
  return std::nullopt;
}

Response handle(const Request& request, daemon::Service& service) {
  switch (request.endpoint) {
    case Endpoint::kModels:
      return get_models(service);
    case Endpoint::kModel:
      return get_model(request, service);
    case Endpoint::kCreateSession:
      return create_session(request, service);
    case Endpoint::kListSessions:
      return list_sessions(request, service);
    case Endpoint::kSession:
      return get_session(request, service);
    case Endpoint::kDeleteSession:
      return delete_session(request, service);
    case Endpoint::kMemory:
      return get_memory(request, service);
    case Endpoint::kAppend:
      return append(request, service);
    case Endpoint::kImport:
      return import(request, service);
    case Endpoint::kBackup:
      return backup(request, service);
    case Endpoint::kVerify:
      return verify(service);
    default:
      return error_response(http_error(500, "internal", "this route is not answered here"));
  }
}

}  // namespace recalld::api
