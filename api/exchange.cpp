#include "api/exchange.h"

#include <algorithm>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>
#include <cctype>

#include "api/chat_request.h"
#include "api/front.h"
#include "api/guard.h"

namespace recalld::api {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMaxRequestId = 64;

std::string header_text(const RequestHeader& header, http::field name) { return std::string(header[name]); }
std::string header_text(const RequestHeader& header, std::string_view name) {
  return std::string(header[boost::beast::string_view(name.data(), name.size())]);
}

bool is_request_id(const std::string& text) {
  return !text.empty() && text.size() <= kMaxRequestId && std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
  });
}

std::string media_type(const std::string& content_type) {
  std::string type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

std::optional<HttpError> check_origin(const RequestHeader& header, const Door& door, Front& front, Exchange* exchange) {
  const std::string host = header_text(header, http::field::host);
  if (exchange->http11 && host.empty()) return http_error(400, "bad_request", "the Host header is missing");
  if (header.count(http::field::host) > 1) return http_error(400, "bad_request", "there is more than one Host header");
  if (door.loopback && !host.empty() && !host_allowed(host, front.options.allowed_hosts))
    return http_error(403, "permission_denied",
                      "the Host \"" + host + "\" is not allowed on loopback; add it to server.allowed_hosts");
  const std::string origin = header_text(header, http::field::origin);
  if (!origin_allowed(origin, host, front.options.allowed_origins))
    return http_error(403, "permission_denied",
                      "pages of the Origin \"" + origin + "\" are not allowed; add it to server.allowed_origins");
  exchange->allowed_origin = origin;
  return std::nullopt;
}

Response options_response(const Match& match) {
  Response response;
  response.status = 204;
  const std::string allow = match.allow.empty() ? "GET, HEAD, POST, DELETE, OPTIONS" : match.allow;
  response.headers = {
      {"Allow", allow},
      {"Access-Control-Allow-Methods", allow},
      {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key, X-Recalld-Session, X-Request-Id"},
      {"Access-Control-Max-Age", "600"}};
  return response;
}

std::optional<HttpError> check_key(const RequestHeader& header, const Door& door, const Route& route, Front& front,
                                   Caller* caller) {
  const std::string authorization = header_text(header, http::field::authorization);
  std::string key = header_text(header, "X-API-Key");
  if (key.empty()) key = std::string(bearer_key(authorization));
  *caller = {"local", true};
  if (!front.keys.required() || (door.unix_socket && key.empty()) || route.open) return std::nullopt;
  const auto owner = front.keys.find(key);
  if (key.empty() || !owner)
    return http_error(401, "invalid_api_key",
                      key.empty() ? "an API key is needed; send Authorization: Bearer KEY" : "the API key is unknown");
  *caller = *owner;
  if (route.admin && !owner->admin)
    return http_error(403, "permission_denied", "this needs a key marked admin in the keys file");
  return std::nullopt;
}

bool has_session(Endpoint endpoint) {
  switch (endpoint) {
    case Endpoint::kSession:
    case Endpoint::kDeleteSession:
    case Endpoint::kMemory:
    case Endpoint::kAppend:
    case Endpoint::kImport:
    case Endpoint::kWebSocket:
      return true;
    default:
      return false;
  }
}

std::optional<HttpError> check_body(const RequestHeader& header, std::optional<uint64_t> body_bytes, bool has_body,
                                    Front& front, Exchange* exchange) {
  const std::string expect = header_text(header, http::field::expect);
  exchange->expects_continue = boost::beast::iequals(expect, "100-continue");
  if (!expect.empty() && !exchange->expects_continue)
    return http_error(417, "expectation_failed", "Expect: " + expect + " is unknown; only 100-continue is");
  if (!has_body) return std::nullopt;
  const std::string type = exchange->request.content_type = media_type(header_text(header, http::field::content_type));
  const bool import = exchange->route->endpoint == Endpoint::kImport;
  const bool fits = type == "application/json" || (type.empty() && !import) ||
                    (import && (type == "application/x-ndjson" || type == "application/ndjson"));
  if (!fits)
    return http_error(415, "unsupported_media_type",
                      "Content-Type \"" + type + "\" is not understood here; send application/json" +
                          (import ? " (LoCoMo) or application/x-ndjson" : ""));
  if (type == "application/ndjson") exchange->request.content_type = "application/x-ndjson";
  if (body_bytes.value_or(0) > front.options.max_body_bytes)
    return http_error(413, "too_large",
                      "the body has " + std::to_string(*body_bytes) + " bytes; at most " +
                          std::to_string(front.options.max_body_bytes) + " are taken (server.max_body_bytes)");
  return std::nullopt;
}

}  // namespace

std::optional<Response> admit(const RequestHeader& header, std::optional<uint64_t> body_bytes, bool has_body,
                              const Door& door, Front& front, Exchange* exchange) {
  exchange->http11 = header.version() >= 11;
  exchange->method = std::string(header.method() == http::verb::unknown ? "other" : header.method_string());
  if (const std::string id = header_text(header, "X-Request-Id"); is_request_id(id)) exchange->request_id = id;
  const auto target = parse_target(std::string_view(header.target().data(), header.target().size()));
  if (!target && header.target() != "*")
    return error_response(http_error(400, "bad_request", "the request target is not a valid path"));
  if (const auto error = check_origin(header, door, front, exchange)) return error_response(*error);

  const std::string path = target ? target->path : "*";
  Match match = match_route(header.method(), path);
  exchange->pattern = std::string(match.pattern);
  if (header.method() == http::verb::options) return options_response(match);
  if (match.allow.empty())
    return error_response(
        http_error(404, "not_found", "there is nothing at " + path + "; docs/http.md lists the routes"));
  if (match.route == nullptr) {
    Response response = error_response(http_error(
        405, "method_not_allowed", std::string(header.method_string()) + " is not possible here; use " + match.allow));
    response.headers.emplace_back("Allow", match.allow);
    return response;
  }
  exchange->route = match.route;
  exchange->request.endpoint = match.route->endpoint;
  exchange->request.id = std::move(match.id);
  if (target) exchange->request.query = target->query;
  exchange->session_header = header_text(header, "X-Recalld-Session");

  if (const auto error = check_key(header, door, *match.route, front, &exchange->request.caller))
    return error_response(*error);
  if (!match.route->open && front.service.load() == nullptr)
    return error_response(http_error(503, "unavailable", "not ready: " + front.starting()));
  if (has_session(match.route->endpoint) && !is_session_id(exchange->request.id))
    return error_response(
        http_error(404, "session_not_found", "\"" + exchange->request.id + "\" is not the form of a session id"));
  if (const auto error = check_body(header, body_bytes, has_body, front, exchange)) return error_response(*error);
  return std::nullopt;
}

std::string response_head(const Exchange& exchange, const Response& response, std::optional<size_t> length) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " " + std::string(reason_phrase(response.status)) +
                     "\r\nServer: recalld\r\nx-request-id: " + exchange.request_id + "\r\n";
  const bool no_content = response.status == 204;
  if (!no_content) head += "Content-Type: " + response.content_type + "\r\n";
  if (length && !no_content)
    head += "Content-Length: " + std::to_string(*length) + "\r\n";
  else if (!length && exchange.http11)
    head += "Transfer-Encoding: chunked\r\n";
  for (const auto& [name, value] : response.headers) head += name + ": " + value + "\r\n";
  if (!exchange.allowed_origin.empty())
    head += "Access-Control-Allow-Origin: " + exchange.allowed_origin +
            "\r\nAccess-Control-Expose-Headers: x-request-id\r\nVary: Origin\r\n";
  head += exchange.keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

}  // namespace recalld::api
