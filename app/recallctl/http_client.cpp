#include "app/recallctl/http_client.h"

#include <boost/json/parse.hpp>

#include "app/recallctl/connection.h"
#include "app/recallctl/event_stream.h"

namespace recalld::recallctl {

namespace http = boost::beast::http;
namespace json = boost::json;

namespace {

constexpr unsigned kHttp11 = 11;
constexpr uint64_t kMaxAnswerBytes = 1ULL << 30;

Status send(const Address& address, const std::string& key, const Request& request, Connection* connection,
            Connection::ResponseParser* parser) {
  RECALLD_RETURN_IF_ERROR(connection->connect(address));
  Connection::RequestMessage message{request.verb, request.target, kHttp11};
  message.set(http::field::host, address.host_header());
  message.set(http::field::user_agent, "recallctl");
  message.set(http::field::connection, "close");
  if (!key.empty()) message.set(http::field::authorization, "Bearer " + key);
  if (!request.body.empty()) message.set(http::field::content_type, request.content_type);
  message.body() = request.body;
  message.prepare_payload();
  RECALLD_RETURN_IF_ERROR(connection->write(message));
  parser->body_limit(kMaxAnswerBytes);
  return connection->read_header(parser);
}

Result<std::string> read_all(Connection* connection, Connection::ResponseParser* parser) {
  std::string body;
  while (!parser->is_done()) RECALLD_RETURN_IF_ERROR(connection->read_some(parser, &body));
  return body;
}

StatusCode code_of_http(unsigned status) {
  switch (status) {
    case 401:
      return StatusCode::kUnauthenticated;
    case 403:
      return StatusCode::kPermissionDenied;
    case 404:
      return StatusCode::kNotFound;
    case 409:
      return StatusCode::kAlreadyExists;
    case 413:
      return StatusCode::kTooLarge;
    case 429:
      return StatusCode::kResourceExhausted;
    case 503:
      return StatusCode::kUnavailable;
    case 507:
      return StatusCode::kStorageFull;
    default:
      return status < 500 ? StatusCode::kInvalidArgument : StatusCode::kInternal;
  }
}

}  // namespace

Status error_of_response(unsigned http_status, const std::string& body) {
  std::string message = "the daemon answered HTTP " + std::to_string(http_status);
  boost::system::error_code error;
  const json::value value = json::parse(body, error);
  if (!error && value.is_object()) {
    const json::value* found = value.as_object().if_contains("error");
    if (found != nullptr && found->is_object()) found = found->as_object().if_contains("message");
    if (found != nullptr && found->is_string()) message = found->as_string().c_str();
  }
  if (http_status == 401) message += " (give the key with --key-file, --key or RECALLD_KEY)";
  return {code_of_http(http_status), message};
}

Result<json::value> HttpClient::call(const Request& request) const {
  Connection connection(request.idle_timeout, false);
  Connection::ResponseParser parser;
  RECALLD_RETURN_IF_ERROR(send(address_, key_, request, &connection, &parser));
  RECALLD_ASSIGN_OR_RETURN(const std::string body, read_all(&connection, &parser));
  const unsigned status = parser.get().result_int();
  if (status >= 400) return error_of_response(status, body);
  if (body.empty()) return json::value(nullptr);
  boost::system::error_code error;
  json::value value = json::parse(body, error);
  if (error) return internal_error(address_.text + request.target + " did not answer in JSON; is it recalld?");
  return value;
}

Status HttpClient::stream(const Request& request, const std::function<void(const std::string&)>& on_event) const {
  Connection connection(request.idle_timeout, true);
  Connection::ResponseParser parser;
  RECALLD_RETURN_IF_ERROR(send(address_, key_, request, &connection, &parser));
  const unsigned status = parser.get().result_int();
  if (status >= 400) {
    RECALLD_ASSIGN_OR_RETURN(const std::string body, read_all(&connection, &parser));
    return error_of_response(status, body);
  }
  EventStream events(on_event);
  while (!parser.is_done()) {
    std::string bytes;
    RECALLD_RETURN_IF_ERROR(connection.read_some(&parser, &bytes));
    events.feed(bytes);
  }
  return ok_status();
}

}  // namespace recalld::recallctl
