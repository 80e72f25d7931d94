// Answers as JSON: OpenAI's shapes, the recall object, WebSocket events, sessions.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <vector>

#include "api/errors.h"
#include "daemon/service.h"

namespace recalld::api {

// What all chunks of one answer have in common.
struct AnswerHead {
  std::string id;  // "chatcmpl-..."
  int64_t created_s = 0;
  std::string model;
  std::string session;  // or empty
};

boost::json::object completion_json(const AnswerHead& head, const daemon::ChatResult& result);

// Chunks of a stream. With include_usage every chunk but the usage chunk has "usage": null.
boost::json::object first_chunk(const AnswerHead& head, bool include_usage);
boost::json::object delta_chunk(const AnswerHead& head, const std::string& text, bool include_usage);
boost::json::object last_chunk(const AnswerHead& head, const daemon::ChatResult& result, bool include_usage);
boost::json::object usage_chunk(const AnswerHead& head, const daemon::ChatResult& result);

boost::json::object usage_json(const daemon::ChatResult& result);
boost::json::object recall_json(const std::string& session, const daemon::ChatResult& result);

// WebSocket events; id is left out when empty.
boost::json::object ws_start(const std::string& id, int64_t user_turn);
boost::json::object ws_delta(const std::string& id, const std::string& text);
boost::json::object ws_done(const std::string& id, const std::string& session, const daemon::ChatResult& result);
boost::json::object ws_error(const std::string& id, const HttpError& error);

boost::json::object model_json(const daemon::ModelCard& card);
boost::json::object session_json(const daemon::SessionInfo& info);
boost::json::object turn_json(const daemon::Turn& turn);
boost::json::object memory_json(const std::string& session, const daemon::MemoryInfo& info);

// "data: {...}\n\n"
std::string sse_event(const boost::json::object& object);

}  // namespace recalld::api
