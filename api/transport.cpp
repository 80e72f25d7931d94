#include "api/transport.h"

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace recalld::api {
namespace {

constexpr auto kAwait = net::as_tuple(net::use_awaitable);
constexpr Milliseconds kLingerTime(2000);
constexpr size_t kLingerBytes = size_t{4} << 20;

}  // namespace

Deadline::Deadline(Socket& socket, Milliseconds time) : state_(std::make_shared<State>(socket.get_executor())) {
  state_->timer.expires_after(time);
  state_->timer.async_wait([state = state_, &socket](error_code error) {
    if (error || state->over) return;
    state->expired = true;
    error_code ignored;
    socket.cancel(ignored);
  });
}

Deadline::~Deadline() {
  state_->over = true;
  state_->timer.cancel();
}

void Signal::fire() {
  fired_ = true;
  timer_.cancel();
}

net::awaitable<bool> Signal::wait(Milliseconds time) {
  if (!fired_) {
    timer_.expires_after(time);
    co_await timer_.async_wait(kAwait);
  }
  co_return std::exchange(fired_, false);
}

Transport::Transport(Socket socket) : socket_(std::move(socket)) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
}

net::awaitable<bool> Transport::wait_readable(Milliseconds time) {
  const Deadline deadline(socket_, time);
  const auto [error] = co_await socket_.async_wait(Socket::wait_read, kAwait);
  co_return !error;
}

net::awaitable<bool> Transport::write(std::string_view text, Milliseconds stall) {
  while (!text.empty()) {
    const Deadline deadline(socket_, stall);
    const auto [error, taken] = co_await socket_.async_write_some(net::buffer(text.data(), text.size()), kAwait);
    if (error) co_return false;
    text.remove_prefix(taken);
  }
  co_return true;
}

net::awaitable<void> Transport::linger() {
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  const Deadline deadline(socket_, kLingerTime);
  std::array<char, 16384> trash{};
  for (size_t total = 0; total < kLingerBytes;) {
    const auto [error, taken] = co_await socket_.async_read_some(net::buffer(trash), kAwait);
    if (error || deadline.expired()) break;
    total += taken;
  }
}

void Transport::close() {
  error_code ignored;
  socket_.shutdown(Socket::shutdown_both, ignored);
  socket_.close(ignored);
}

Transport::Peer Transport::peek() {
  char byte = 0;
  error_code error;
  const size_t taken = socket_.receive(net::buffer(&byte, 1), Socket::message_peek, error);
  if (error == net::error::would_block || error == net::error::try_again) return Peer::kQuiet;
  if (error == net::error::eof || (!error && taken == 0)) return Peer::kEnded;
  return error ? Peer::kGone : Peer::kSent;
}

}  // namespace recalld::api
