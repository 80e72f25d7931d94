#include "app/recallctl/api.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/encode.hpp>
#include <boost/url/rfc/unreserved_chars.hpp>
#include <chrono>

#include "base/clock.h"

namespace recalld::recallctl {

namespace http = boost::beast::http;
namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kLongWork{3600};

std::string session_path(const std::string& id, const std::string& rest = "") {
  return "/v1/sessions/" + boost::urls::encode(id, boost::urls::unreserved_chars) + rest;
}

json::object chat_body(const Question& question) {
  json::object body{{"model", "default"},
                    {"stream", true},
                    {"remember", question.remember},
                    {"messages", json::array{json::object{{"role", "user"}, {"content", question.text}}}}};
  if (!question.session.empty()) body["metadata"] = json::object{{"session", question.session}};
  if (question.max_tokens > 0) body["max_tokens"] = question.max_tokens;
  if (question.temperature >= 0) body["temperature"] = question.temperature;
  if (!question.seed.is_null()) body["seed"] = question.seed;
  return body;
}

// What the events of one streamed answer add up to.
class AnswerReader {
 public:
  explicit AnswerReader(const std::function<void(const std::string&)>& on_text)
      : on_text_(on_text), started_(std::chrono::steady_clock::now()) {}

  void take(const std::string& data) {
    if (data == "[DONE]") {
      complete_ = true;
      return;
    }
    boost::system::error_code error;
    const json::value event = json::parse(data, error);
    if (error || !event.is_object()) {
      failure_ = internal_error("the daemon sent an event that is not a JSON object: " + data.substr(0, 200));
      return;
    }
    if (event.as_object().contains("error")) {
      failure_ = error_of_response(500, data);
      return;
    }
    take_chunk(event.as_object());
  }

  Result<Answer> finish() {
    RECALLD_RETURN_IF_ERROR(failure_);
    if (!complete_) return unavailable("the answer ended before it was complete; is the daemon stopping?");
    return std::move(answer_);
  }

 private:
  void take_chunk(const json::object& chunk) {
    if (const json::value* recall = chunk.if_contains("recall"); recall != nullptr && recall->is_object())
      answer_.recall = recall->as_object();
    const json::value* choices = chunk.if_contains("choices");
    if (choices == nullptr || !choices->is_array() || choices->as_array().empty()) return;
    const json::value& choice = choices->as_array()[0];
    if (!choice.is_object()) return;
    answer_.finish_reason = string_of(choice.as_object(), "finish_reason", answer_.finish_reason);
    const json::value* delta = choice.as_object().if_contains("delta");
    if (delta == nullptr || !delta->is_object()) return;
    const std::string text = string_of(delta->as_object(), "content");
    if (text.empty()) return;
    if (answer_.text.empty())
      answer_.first_text_ms =
          std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started_).count();
    answer_.text += text;
    on_text_(text);
  }

  const std::function<void(const std::string&)>& on_text_;
  std::chrono::steady_clock::time_point started_;
  Answer answer_;
  Status failure_;
  bool complete_ = false;
};

}  // namespace

int64_t int_of(const json::object& object, const char* name, int64_t otherwise) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_int64() ? value->as_int64() : otherwise;
}

double number_of(const json::object& object, const char* name, double otherwise) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_number()) return otherwise;
  return value->is_double() ? value->as_double() : static_cast<double>(value->to_number<int64_t>());
}

std::string string_of(const json::object& object, const char* name, const std::string& otherwise) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : otherwise;
}

std::optional<int64_t> time_of(const json::object& object, const char* name) {
  int64_t unix_ms = 0;
  return parse_rfc3339(string_of(object, name), &unix_ms) ? std::optional(unix_ms) : std::nullopt;
}

const json::array& array_of(const json::object& object, const char* name) {
  static const json::array kNone;
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_array() ? value->as_array() : kNone;
}

Result<json::object> Api::call_object(const Request& request) const {
  RECALLD_ASSIGN_OR_RETURN(json::value value, client_.call(request));
  if (!value.is_object()) return internal_error(address().text + request.target + " did not answer with an object");
  return std::move(value.as_object());
}

Result<json::object> Api::create_session(const std::string& title, const std::string& style) const {
  json::object body;
  if (!title.empty()) body["title"] = title;
  if (!style.empty()) body["style"] = style;
  return call_object({.verb = http::verb::post, .target = "/v1/sessions", .body = json::serialize(body)});
}

Result<json::array> Api::sessions() const {
  RECALLD_ASSIGN_OR_RETURN(json::object list, call_object({.target = "/v1/sessions"}));
  json::value* data = list.if_contains("data");
  if (data == nullptr || !data->is_array()) return internal_error("the list of sessions has no data");
  return std::move(data->as_array());
}

Result<json::object> Api::session(const std::string& id) const { return call_object({.target = session_path(id)}); }

Result<json::object> Api::memory(const std::string& id) const {
  return call_object({.target = session_path(id, "/memory")});
}

Result<TurnPage> Api::turns(const std::string& id, int64_t first, int64_t limit) const {
  RECALLD_ASSIGN_OR_RETURN(
      const json::object page,
      call_object({.target = session_path(id, "?turns=1&first=" + std::to_string(first) +
                                                  "&limit=" + std::to_string(std::clamp<int64_t>(limit, 1, 1000)))}));
  return TurnPage{array_of(page, "turns"), int_of(page, "next", -1)};
}

Result<json::object> Api::remove_session(const std::string& id) const {
  return call_object({.verb = http::verb::delete_, .target = session_path(id)});
}

Result<json::object> Api::import(const std::string& id, std::string body, const std::string& content_type) const {
  return call_object({.verb = http::verb::post,
                      .target = session_path(id, "/import"),
                      .body = std::move(body),
                      .content_type = content_type,
                      .idle_timeout = kLongWork});
}

Result<json::object> Api::backup(const std::string& path) const {
  return call_object({.verb = http::verb::post,
                      .target = "/v1/admin/backup",
                      .body = json::serialize(json::object{{"path", path}}),
                      .idle_timeout = kLongWork});
}

Result<json::object> Api::verify() const {
  return call_object({.verb = http::verb::post, .target = "/v1/admin/verify", .body = "{}", .idle_timeout = kLongWork});
}

Result<Answer> Api::ask(const Question& question, const std::function<void(const std::string&)>& on_text) const {
  AnswerReader reader(on_text);
  const Status status = client_.stream({.verb = http::verb::post,
                                        .target = "/v1/chat/completions",
                                        .body = json::serialize(chat_body(question)),
                                        .idle_timeout = std::chrono::seconds(300)},
                                       [&](const std::string& data) { reader.take(data); });
  RECALLD_RETURN_IF_ERROR(status);
  return reader.finish();
}

}  // namespace recalld::recallctl
