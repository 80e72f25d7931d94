#include "api/chat_request.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/string.hpp>
#include <cctype>
#include <limits>

#include "api/fields.h"
#include "daemon/message_json.h"

namespace recalld::api {
namespace {

constexpr size_t kMaxStops = 16;
constexpr size_t kMaxMetadata = 16;
constexpr size_t kMaxMetadataKey = 64;
constexpr size_t kMaxMetadataValue = 512;

bool empty_container(const boost::json::value& value) {
  if (const auto* array = value.if_array()) return array->empty();
  if (const auto* object = value.if_object()) return object->empty();
  return false;
}

// Fields whose silent loss would change what the answer means.
void refuse_unsupported(Fields* fields) {
  for (const char* key : {"tools", "functions"}) {
    const boost::json::value* value = fields->find(key);
    if (value != nullptr && !empty_container(*value))
      fields->fail_unsupported(key, "cannot be honoured: this model calls no tools; leave it out");
  }
  if (const boost::json::value* format = fields->find("response_format")) {
    const boost::json::object* object = format->if_object();
    const boost::json::value* type = object == nullptr ? nullptr : object->if_contains("type");
    if (type == nullptr || *type != "text")
      fields->fail_unsupported("response_format", "cannot be honoured: only {\"type\":\"text\"} is; leave it out");
  }
  if (const boost::json::value* logprobs = fields->find("logprobs"); logprobs != nullptr && *logprobs != false)
    fields->fail_unsupported("logprobs", "cannot be honoured; leave it out");
  if (const boost::json::value* bias = fields->find("logit_bias"); bias != nullptr && !empty_container(*bias))
    fields->fail_unsupported("logit_bias", "cannot be honoured; leave it out");
  if (const boost::json::value* modalities = fields->find("modalities");
      modalities != nullptr && *modalities != boost::json::value(boost::json::array{"text"}))
    fields->fail_unsupported("modalities", "cannot be honoured: only [\"text\"] is; leave it out");
  if (fields->find("audio") != nullptr) fields->fail_unsupported("audio", "cannot be honoured; leave it out");
  int32_t n = 1;
  fields->integer("n", 0, std::numeric_limits<int32_t>::max(), &n);
  if (n != 1)
    fields->fail_unsupported("n", "= " + std::to_string(n) + " cannot be honoured: one answer at a time; use 1");
}

void read_messages(Fields* fields, std::vector<daemon::Message>* messages) {
  const boost::json::value* value = fields->find("messages");
  if (value == nullptr) return fields->fail("messages", "is missing; send an array of at least one message");
  const boost::json::array* array = value->if_array();
  if (array == nullptr || array->empty()) return fields->fail("messages", "must be an array of at least one message");
  for (size_t i = 0; i < array->size(); ++i) {
    daemon::Message message;
    if (const auto problem = daemon::read_message((*array)[i], &message)) {
      std::string name = "messages[" + std::to_string(i) + "]";
      if (!problem->field.empty()) name += "." + problem->field;
      return problem->unsupported ? fields->fail_unsupported(name, problem->message)
                                  : fields->fail(name, problem->message);
    }
    messages->push_back(std::move(message));
  }
  if (messages->back().role != "user")
    return fields->fail("messages", "must end with a message of role \"user\", not \"" + messages->back().role + "\"");
  if (messages->back().text.empty()) fields->fail("messages", "must not end with an empty message");
}

void read_session(Fields* fields, std::string_view header_session, std::string* session) {
  std::string from_metadata;
  if (const boost::json::object* metadata = fields->object("metadata")) {
    if (metadata->size() > kMaxMetadata)
      return fields->fail("metadata", "has more than " + std::to_string(kMaxMetadata) + " pairs");
    for (const auto& [key, value] : *metadata) {
      if (!value.is_string() || key.size() > kMaxMetadataKey || value.get_string().size() > kMaxMetadataValue)
        return fields->fail("metadata", "must map keys of at most 64 bytes to strings of at most 512");
    }
    if (const boost::json::value* value = metadata->if_contains("session"))
      from_metadata = std::string(value->get_string());
  }
  if (!header_session.empty() && !from_metadata.empty() && header_session != from_metadata)
    return fields->fail("metadata", "names the session \"" + from_metadata + "\", but the header X-Recalld-Session \"" +
                                        std::string(header_session) + "\"; send one of them");
  *session = header_session.empty() ? from_metadata : std::string(header_session);
  if (!session->empty() && !is_session_id(*session))
    fields->fail("metadata", ": \"" + *session + "\" is not the form of a session id; POST /v1/sessions gives one");
}

}  // namespace

bool is_session_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-';
  });
}

std::optional<HttpError> parse_sampling(const boost::json::object& object, const std::string& prefix,
                                        daemon::ChatRequest* request) {
  Fields fields(object, prefix);
  daemon::SamplingOptions& sampling = request->sampling;
  fields.number("temperature", 0, 2, &sampling.temperature);
  fields.number("top_p", 0, 1, &sampling.top_p);
  fields.integer("top_k", 0, 1'000'000, &sampling.top_k);
  fields.number("min_p", 0, 1, &sampling.min_p);
  fields.number("repeat_penalty", 0.01, 10, &sampling.repeat_penalty);
  fields.number("frequency_penalty", -2, 2, &sampling.frequency_penalty);
  fields.number("presence_penalty", -2, 2, &sampling.presence_penalty);
  fields.seed("seed", &sampling.seed);
  fields.integer("max_tokens", 1, std::numeric_limits<int32_t>::max(), &sampling.max_tokens);
  fields.integer("max_completion_tokens", 1, std::numeric_limits<int32_t>::max(), &sampling.max_tokens);
  fields.texts("stop", kMaxStops, &sampling.stop);
  fields.boolean("remember", &request->remember);
  return fields.error();
}

std::optional<HttpError> parse_chat(const boost::json::object& body, std::string_view header_session,
                                    std::string_view model_id, ChatCall* call) {
  Fields fields(body);
  std::string model;
  fields.text("model", 256, &model);
  if (!fields.failed() && !model.empty() && model != "default" && model != model_id) {
    HttpError error =
        http_error(404, "model_not_found",
                   "the model \"" + model + "\" is not served; use \"" + std::string(model_id) + "\" or \"default\"");
    error.param = "model";
    return error;
  }
  read_messages(&fields, &call->request.messages);
  fields.boolean("stream", &call->stream);
  if (const boost::json::object* options = fields.object("stream_options")) {
    Fields inner(*options, "stream_options.");
    inner.boolean("include_usage", &call->include_usage);
    if (inner.failed()) return inner.error();
  }
  read_session(&fields, header_session, &call->request.session);
  refuse_unsupported(&fields);
  if (fields.failed()) return fields.error();
  return parse_sampling(body, "", &call->request);
}

}  // namespace recalld::api
