// One client: requests in turn on one socket, until either side ends it. Everything runs on the socket's strand.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <memory>
#include <string>

#include "api/answer_inbox.h"
#include "api/exchange.h"
#include "api/front.h"
#include "api/transport.h"

namespace recalld::api {

class WebSocketPeer;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // front outlives the connection. on_end is called once, on the strand, when the connection is over.
  Connection(Front& front, Socket socket, Door door, std::function<void()> on_end);
  ~Connection();

  void start();
  // From any thread: an idle connection is closed, a busy one after its answer.
  void drain();
  // From any thread: a WebSocket is told that the daemon stops.
  void finish();

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  net::awaitable<void> run();
  // One request; true when another may follow.
  net::awaitable<bool> serve(bool first);
  net::awaitable<bool> read_body(Parser& parser, Exchange* exchange);
  net::awaitable<bool> dispatch(Parser& parser, Exchange* exchange);
  net::awaitable<Response> call(Exchange* exchange);
  Response ready_response() const;
  Response metrics_response() const;

  // Writes the answer and counts it. drop_input: the request was not read to its end, so the connection ends.
  net::awaitable<bool> respond(Exchange* exchange, Response response, bool drop_input = false);
  void count(const Exchange& exchange);

  net::awaitable<bool> chat(Exchange* exchange);
  net::awaitable<bool> chat_whole(Exchange* exchange, const struct PreparedChat& chat);
  net::awaitable<bool> chat_stream(Exchange* exchange, const struct PreparedChat& chat);
  std::string open_stream(Exchange* exchange);
  // Fires the signal when the peer ends its side while an answer is being made; until stop_watching().
  void watch_peer(std::shared_ptr<Signal> signal);
  void stop_watching();

  net::awaitable<bool> web_socket(Parser& parser, Exchange* exchange);

  Front& front_;
  Transport transport_;
  const Door door_;
  std::function<void()> on_end_;
  boost::beast::flat_buffer buffer_;
  std::weak_ptr<WebSocketPeer> web_socket_;
  bool idle_ = false;
  bool watching_ = false;
  Transport::Peer peer_ = Transport::Peer::kQuiet;
};

}  // namespace recalld::api
