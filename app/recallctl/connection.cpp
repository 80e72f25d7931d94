#include "app/recallctl/connection.h"

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <csignal>
#include <vector>

namespace recalld::recallctl {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

Connection::Connection(std::chrono::seconds idle_timeout, bool stop_on_interrupt)
    : socket_(io_), signals_(io_), idle_timeout_(idle_timeout) {
  if (!stop_on_interrupt) return;
  signals_.add(SIGINT);
  signals_.async_wait([this](error_code error, int) {
    if (error) return;
    interrupted_ = true;
    socket_.close(error);
  });
}

error_code Connection::run(const std::function<void(Done)>& start) {
  if (interrupted_) return asio::error::operation_aborted;
  bool done = false;
  error_code result;
  start([&](error_code error) {
    done = true;
    result = error;
  });
  io_.restart();
  const auto deadline = std::chrono::steady_clock::now() + idle_timeout_;
  while (!done && io_.run_one_until(deadline) > 0) {
  }
  if (done) return result;
  timed_out_ = true;
  error_code ignored;
  socket_.close(ignored);
  while (!done && io_.run_one() > 0) {
  }
  return asio::error::timed_out;
}

Status Connection::to_status(error_code error, const std::string& doing) const {
  if (!error) return ok_status();
  if (interrupted_) return cancelled("interrupted");
  if (timed_out_)
    return unavailable("the daemon did not answer for " + std::to_string(idle_timeout_.count()) + " s while " + doing +
                       "; see its log");
  if (error == http::error::end_of_stream || error == http::error::partial_message || error == asio::error::eof ||
      error == asio::error::connection_reset || error == asio::error::broken_pipe)
    return unavailable("the daemon closed the connection while " + doing + "; see its log");
  return unavailable("the connection failed while " + doing + ": " + error.message());
}

Status Connection::connect(const Address& address) {
  std::vector<asio::generic::stream_protocol::endpoint> endpoints;
  error_code error;
  if (address.is_unix()) {
    if (address.socket_path.size() >= 108)
      return invalid_argument("the socket path " + address.socket_path + " is longer than 107 bytes");
    endpoints.emplace_back(asio::local::stream_protocol::endpoint(address.socket_path));
  } else {
    asio::ip::tcp::resolver resolver(io_);
    const auto found = resolver.resolve(address.host, address.port, error);
    if (error) return unavailable("cannot find the host of " + address.text + ": " + error.message());
    for (const auto& entry : found) endpoints.emplace_back(entry.endpoint());
  }
  for (const auto& endpoint : endpoints) {
    error_code ignored;
    socket_.close(ignored);
    error = run([&](Done done) { socket_.async_connect(endpoint, std::move(done)); });
    if (!error) return ok_status();
    if (interrupted_) return cancelled("interrupted");
  }
  return unavailable("no recalld at " + address.text + " (" + error.message() +
                     "); start one with 'recalld --config FILE' or 'systemctl start recalld', or name another with "
                     "--server or RECALLD_SERVER");
}

Status Connection::write(const RequestMessage& request) {
  const error_code error = run([&](Done done) {
    http::async_write(socket_, request, [done = std::move(done)](error_code failure, size_t) { done(failure); });
  });
  // A refusal that comes before the whole body was taken is still in the socket, and says more than a broken pipe.
  if (error == asio::error::broken_pipe || error == asio::error::connection_reset) return ok_status();
  return to_status(error, "the request was sent");
}

Status Connection::read_header(ResponseParser* parser) {
  const error_code error = run([&](Done done) {
    http::async_read_header(socket_, buffer_, *parser,
                            [done = std::move(done)](error_code failure, size_t) { done(failure); });
  });
  return to_status(error, "it was to answer");
}

Status Connection::read_some(ResponseParser* parser, std::string* body) {
  std::array<char, 16384> chunk;  // NOLINT(cppcoreguidelines-pro-type-member-init): filled by the read
  parser->get().body().data = chunk.data();
  parser->get().body().size = chunk.size();
  error_code error = run([&](Done done) {
    http::async_read_some(socket_, buffer_, *parser,
                          [done = std::move(done)](error_code failure, size_t) { done(failure); });
  });
  if (error == http::error::need_buffer) error = {};
  body->append(chunk.data(), chunk.size() - parser->get().body().size);
  return to_status(error, "it was answering");
}

}  // namespace recalld::recallctl
