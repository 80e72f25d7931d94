#include "daemon/message_json.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/string.hpp>

#include "base/clock.h"
#include "daemon/json_text.h"

namespace recalld::daemon {
namespace {

constexpr size_t kMaxSpeakerBytes = 64;

FieldProblem wrong_type(std::string field, std::string_view wanted, const boost::json::value& found) {
  return {std::move(field), "must be " + std::string(wanted) + ", not " + std::string(json_kind_name(found))};
}

std::optional<FieldProblem> check(const std::string& text, const std::string& field) {
  if (const Status status = check_text(text, "the text"); !status.ok()) return FieldProblem{field, status.message()};
  return std::nullopt;
}

std::optional<FieldProblem> read_part(const boost::json::value& part, const std::string& name, std::string* text) {
  const boost::json::object* object = part.if_object();
  if (object == nullptr) return wrong_type(name, "an object with \"type\" and \"text\"", part);
  const boost::json::value* type = object->if_contains("type");
  if (type == nullptr || !type->is_string()) return FieldProblem{name + ".type", "must be the string \"text\""};
  if (type->get_string() != "text")
    return FieldProblem{name + ".type",
                        "\"" + std::string(type->get_string()) + "\" parts cannot be read by this model; send text",
                        true};
  const boost::json::value* body = object->if_contains("text");
  if (body == nullptr || !body->is_string()) return FieldProblem{name + ".text", "must be a string"};
  text->assign(body->get_string());
  return check(*text, name + ".text");
}

std::optional<FieldProblem> read_role(const boost::json::object& object, std::string* role) {
  const boost::json::value* value = object.if_contains("role");
  if (value == nullptr) return FieldProblem{"role", "is missing; send \"user\", \"assistant\" or \"system\""};
  if (!value->is_string()) return wrong_type("role", "a string", *value);
  role->assign(value->get_string());
  if (*role == "developer") *role = "system";
  if (*role == "tool" || *role == "function")
    return FieldProblem{"role", "\"" + *role + "\" messages are not supported; send user, assistant or system", true};
  if (*role != "user" && *role != "assistant" && *role != "system")
    return FieldProblem{"role", "must be \"user\", \"assistant\" or \"system\""};
  return std::nullopt;
}

std::optional<FieldProblem> read_speaker(const boost::json::object& object, std::string* speaker) {
  for (const char* key : {"speaker", "name"}) {
    const boost::json::value* value = object.if_contains(key);
    if (value == nullptr || value->is_null()) continue;
    if (!value->is_string()) return wrong_type(key, "a string", *value);
    speaker->assign(value->get_string());
    if (speaker->size() > kMaxSpeakerBytes)
      return FieldProblem{key, "is longer than " + std::to_string(kMaxSpeakerBytes) + " bytes"};
    if (speaker->find('\n') != std::string::npos) return FieldProblem{key, "must be one line"};
    return check(*speaker, key);
  }
  return std::nullopt;
}

std::optional<FieldProblem> read_time(const boost::json::object& object, std::optional<int64_t>* time_ms) {
  const boost::json::value* value = object.if_contains("time");
  if (value == nullptr || value->is_null()) return std::nullopt;
  // Year 9999, the last that RFC 3339 can write.
  constexpr int64_t kLast = 253'402'300'799'999;
  if (value->is_int64()) {
    const int64_t ms = value->get_int64();
    if (ms < 0 || ms > kLast)
      return FieldProblem{"time", "must lie between 0 and " + std::to_string(kLast) + " Unix milliseconds"};
    *time_ms = ms;
    return std::nullopt;
  }
  int64_t ms = 0;
  if (!value->is_string() || !parse_rfc3339(std::string(value->get_string()), &ms))
    return FieldProblem{"time", "must be like \"2023-05-08T13:56:00Z\" (RFC 3339) or Unix milliseconds"};
  *time_ms = ms;
  return std::nullopt;
}

}  // namespace

std::optional<FieldProblem> read_content(const boost::json::value& value, const std::string& name, std::string* text) {
  if (const boost::json::string* string = value.if_string()) {
    text->assign(*string);
    return check(*text, name);
  }
  const boost::json::array* parts = value.if_array();
  if (parts == nullptr) return wrong_type(name, "a string or an array of text parts", value);
  text->clear();
  for (size_t i = 0; i < parts->size(); ++i) {
    std::string piece;
    if (auto problem = read_part((*parts)[i], name + "[" + std::to_string(i) + "]", &piece)) return problem;
    if (i > 0) *text += '\n';
    *text += piece;
  }
  return std::nullopt;
}

std::optional<FieldProblem> read_message(const boost::json::value& value, Message* message) {
  const boost::json::object* object = value.if_object();
  if (object == nullptr) return wrong_type("", "an object with \"role\" and \"content\"", value);
  if (auto problem = read_role(*object, &message->role)) return problem;
  const boost::json::value* content = object->if_contains("content");
  if (content == nullptr) return FieldProblem{"content", "is missing; send a string"};
  if (auto problem = read_content(*content, "content", &message->text)) return problem;
  if (auto problem = read_speaker(*object, &message->speaker)) return problem;
  return read_time(*object, &message->time_ms);
}

}  // namespace recalld::daemon
