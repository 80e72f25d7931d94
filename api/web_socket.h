// One WebSocket: a reader and a writer on one strand. The writer takes the running answer from its inbox as fast as the
// peer reads, so what waits for a slow peer is bounded by the inbox.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>
#include <memory>
#include <string>

#include "api/answer_inbox.h"
#include "api/exchange.h"
#include "api/front.h"
#include "api/prepared_chat.h"
#include "api/transport.h"
#include "api/ws_events.h"

namespace recalld::api {

class WebSocketPeer : public std::enable_shared_from_this<WebSocketPeer> {
 public:
  // front and transport outlive the peer.
  WebSocketPeer(Front& front, Transport& transport, const Exchange& exchange);
  ~WebSocketPeer();

  // Answers the upgrade and talks until either side ends it. On the strand.
  template <typename Request>
  net::awaitable<void> run(const Request& upgrade);
  // On the strand: tells the peer that the daemon stops.
  void stop();

 private:
  using Stream = boost::beast::websocket::stream<Socket&>;
  using CloseCode = boost::beast::websocket::close_code;

  void configure();
  net::awaitable<void> talk();
  net::awaitable<void> read_events();
  net::awaitable<void> write_events();
  net::awaitable<bool> send(std::string text);
  net::awaitable<void> take_event(std::string text);
  net::awaitable<void> ask(WsEvent event);
  void reply(const boost::json::object& object);
  // Frames for what the running answer has brought.
  void take_answer();
  void end_answer();
  void close(CloseCode code, std::string reason);

  Front& front_;
  Transport& transport_;
  const std::string session_;
  const Caller caller_;
  const std::string request_id_;
  Stream stream_;
  boost::beast::flat_buffer buffer_;
  std::deque<std::string> outgoing_;
  size_t outgoing_bytes_ = 0;
  std::shared_ptr<Signal> work_;     // wakes the writer
  std::shared_ptr<Signal> written_;  // the writer has ended
  std::shared_ptr<AnswerInbox> inbox_;
  std::unique_ptr<ChatPlace> place_;  // of the running answer
  std::string answer_id_;
  bool reading_ended_ = false;
  bool closing_ = false;
  CloseCode close_code_ = CloseCode::normal;
  std::string close_reason_;
};

}  // namespace recalld::api
