// One TCP or unix socket connection with an idle timeout and, where asked for, an end on Ctrl-C.
#pragma once

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <string>

#include "app/recallctl/address.h"
#include "base/status.h"

namespace recalld::recallctl {

// Threads: one. Every call blocks; after an error the connection is of no more use.
class Connection {
 public:
  using RequestMessage = boost::beast::http::request<boost::beast::http::string_body>;
  using ResponseParser = boost::beast::http::response_parser<boost::beast::http::buffer_body>;

  // stop_on_interrupt: SIGINT ends the running call with kCancelled instead of ending the program.
  Connection(std::chrono::seconds idle_timeout, bool stop_on_interrupt);

  // kUnavailable, saying how to start a daemon, when nothing listens there.
  Status connect(const Address& address);
  Status write(const RequestMessage& request);
  Status read_header(ResponseParser* parser);
  // Waits for more of the body and appends it to *body; parser->is_done() says when that was all.
  Status read_some(ResponseParser* parser, std::string* body);

 private:
  using Done = std::function<void(boost::system::error_code)>;

  // Starts one operation and runs it to its end, the timeout, or Ctrl-C.
  boost::system::error_code run(const std::function<void(Done)>& start);
  Status to_status(boost::system::error_code error, const std::string& doing) const;

  boost::asio::io_context io_;
  boost::asio::generic::stream_protocol::socket socket_;
  boost::asio::signal_set signals_;
  boost::beast::flat_buffer buffer_;
  std::chrono::seconds idle_timeout_;
  bool interrupted_ = false;
  bool timed_out_ = false;
};

}  // namespace recalld::recallctl
