// A client's socket, TCP or unix, with time limits. All of it runs on the socket's strand.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

namespace recalld::api {

namespace net = boost::asio;
using Socket = net::generic::stream_protocol::socket;
using Milliseconds = std::chrono::milliseconds;
using boost::system::error_code;

// While it lives: when the time is over, what is pending on the socket ends with operation_aborted, and expired() is
// true. The socket stays open, so that the client can be told why.
class Deadline {
 public:
  Deadline(Socket& socket, Milliseconds time);
  ~Deadline();
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  bool expired() const { return state_->expired; }

 private:
  struct State {
    explicit State(const net::any_io_executor& executor) : timer(executor) {}
    net::steady_timer timer;
    bool expired = false, over = false;
  };
  std::shared_ptr<State> state_;
};

// An event that one coroutine waits for. fire() and wait() on the same strand.
class Signal {
 public:
  explicit Signal(const net::any_io_executor& executor) : timer_(executor) {}
  void fire();
  // True when fired since the last wait; false when the time is over.
  net::awaitable<bool> wait(Milliseconds time);

 private:
  net::steady_timer timer_;
  bool fired_ = false;
};

class Transport {
 public:
  explicit Transport(Socket socket);

  Socket& socket() { return socket_; }

  // Until there is something to read, or the peer has ended. False: the time is over, or an error.
  net::awaitable<bool> wait_readable(Milliseconds time);
  // All of text. False when the peer is gone, or takes nothing for `stall`.
  net::awaitable<bool> write(std::string_view text, Milliseconds stall);
  // Ends our side and takes what the peer still sends, for a while: closing over unread bytes would make the kernel
  // throw away the answer that was just written.
  net::awaitable<void> linger();
  void close();

  enum class Peer { kQuiet, kSent, kEnded, kGone };
  // Without waiting and without taking anything. kEnded: it will send no more, but may still read.
  Peer peek();

 private:
  Socket socket_;
};

}  // namespace recalld::api
