// HTTP/1.1 to one daemon over TCP or a unix socket: a connection per request.
//
// Threads: one at a time. Errors: kUnavailable when there is no daemon (the message says how to start one) or it
// stopped in the middle of an answer; HTTP error statuses become the matching Status with the daemon's own message.
#pragma once

#include <boost/beast/http/verb.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "app/recallctl/address.h"
#include "base/status.h"

namespace recalld::recallctl {

struct Request {
  boost::beast::http::verb verb = boost::beast::http::verb::get;
  std::string target;
  std::string body;
  std::string content_type = "application/json";
  // No byte in or out for this long is an error.
  std::chrono::seconds idle_timeout{60};
};

class HttpClient {
 public:
  HttpClient(Address address, std::string key) : address_(std::move(address)), key_(std::move(key)) {}

  // Sends, waits, and parses the answer as JSON (null for an empty body).
  Result<boost::json::value> call(const Request& request) const;

  // Sends, and hands on each event of the answering event stream until it ends. kCancelled when Ctrl-C was pressed:
  // the connection is closed, which stops the answer; the program goes on.
  Status stream(const Request& request, const std::function<void(const std::string& data)>& on_event) const;

  const Address& address() const { return address_; }

 private:
  Address address_;
  std::string key_;
};

// The Status of an error answer: code from the HTTP status, message from the body's error.message.
Status error_of_response(unsigned http_status, const std::string& body);

}  // namespace recalld::recallctl
