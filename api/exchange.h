// One request and its answer on the wire, without the network: what the headers say, whether the request may go on, and
// the bytes of a response.
#pragma once

#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/message.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "api/handlers.h"

namespace recalld::api {

struct Front;

// Where a connection came in.
struct Door {
  bool unix_socket = false;
  bool loopback = false;
};

struct Exchange {
  const Route* route = nullptr;
  std::string pattern = "other";  // label of metrics
  std::string method = "GET";
  std::string request_id;
  std::string allowed_origin;  // to be told to the browser, or empty
  std::string session_header;  // X-Recalld-Session
  Request request;
  int64_t started_ns = 0;
  int status = 0;  // of the answer, once it is known
  bool http11 = true;
  bool keep_alive = false;
  bool expects_continue = false;
};

using RequestHeader = boost::beast::http::request_header<boost::beast::http::fields>;

// Reads the headers into *exchange and checks them, keys and limits included. body_bytes: Content-Length, none when it
// is unknown; has_body: there is one. A response means the request ends here.
std::optional<Response> admit(const RequestHeader& header, std::optional<uint64_t> body_bytes, bool has_body,
                              const Door& door, Front& front, Exchange* exchange);

// Status line and headers, up to the empty line. length: Content-Length; none: chunked (or, for HTTP/1.0, until close).
std::string response_head(const Exchange& exchange, const Response& response, std::optional<size_t> length);

}  // namespace recalld::api
