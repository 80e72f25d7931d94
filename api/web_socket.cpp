#include "api/web_socket.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/websocket.hpp>

#include "api/blocking.h"
#include "api/connection.h"
#include "api/json_out.h"
#include "api/prepared_chat.h"
#include "api/shapes.h"

namespace recalld::api {
namespace {

namespace http = boost::beast::http;
namespace websocket = boost::beast::websocket;

constexpr auto kAwait = net::as_tuple(net::use_awaitable);
constexpr Milliseconds kForever = std::chrono::hours(24);
// How long the closing handshake may take.
constexpr Milliseconds kCloseTime(2000);
constexpr std::chrono::seconds kHandshakeTime(10);

}  // namespace

WebSocketPeer::WebSocketPeer(Front& front, Transport& transport, const Exchange& exchange)
    : front_(front),
      transport_(transport),
      session_(exchange.request.id),
      caller_(exchange.request.caller),
      request_id_(exchange.request_id),
      stream_(transport.socket()),
      work_(std::make_shared<Signal>(transport.socket().get_executor())),
      written_(std::make_shared<Signal>(transport.socket().get_executor())) {
  front_.metrics.websockets.fetch_add(1);
}

WebSocketPeer::~WebSocketPeer() {
  if (inbox_) inbox_->cancel();
  front_.metrics.websockets.fetch_sub(1);
}

void WebSocketPeer::configure() {
  // Pings go out at half the idle time.
  stream_.set_option(websocket::stream_base::timeout{kHandshakeTime, 2 * front_.options.ws_ping_interval, true});
  stream_.set_option(websocket::stream_base::decorator([id = request_id_](websocket::response_type& response) {
    response.set(http::field::server, "recalld");
    response.set("x-request-id", id);
  }));
  stream_.read_message_max(front_.options.max_body_bytes);
  stream_.text(true);
}

template <typename Request>
net::awaitable<void> WebSocketPeer::run(const Request& upgrade) {
  configure();
  const auto [error] = co_await stream_.async_accept(upgrade, kAwait);
  if (!error) co_await talk();
}

net::awaitable<void> WebSocketPeer::talk() {
  net::co_spawn(
      transport_.socket().get_executor(), [self = shared_from_this()] { return self->write_events(); },
      [self = shared_from_this()](std::exception_ptr) { self->written_->fire(); });
  co_await read_events();
  reading_ended_ = true;
  end_answer();
  work_->fire();
  co_await written_->wait(kForever);
}

void WebSocketPeer::stop() { close(CloseCode::service_restart, "the daemon stops"); }

void WebSocketPeer::close(CloseCode code, std::string reason) {
  if (closing_) return;
  closing_ = true;
  close_code_ = code;
  close_reason_ = std::move(reason);
  work_->fire();
}

net::awaitable<void> WebSocketPeer::read_events() {
  while (true) {
    const auto [error, taken] = co_await stream_.async_read(buffer_, kAwait);
    if (error) co_return;
    std::string text(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    buffer_.consume(buffer_.size());
    if (closing_) continue;
    if (stream_.got_text())
      co_await take_event(std::move(text));
    else
      close(CloseCode::unknown_data, "only text frames are understood");
  }
}

net::awaitable<void> WebSocketPeer::write_events() {
  while (!reading_ended_) {
    if (outgoing_.empty()) take_answer();
    if (!outgoing_.empty()) {
      std::string text = std::move(outgoing_.front());
      outgoing_.pop_front();
      outgoing_bytes_ -= text.size();
      const bool sent = co_await send(std::move(text));
      if (!sent) {
        // The reader waits for bytes that will not come.
        transport_.close();
        co_return;
      }
      continue;
    }
    if (closing_) break;
    co_await work_->wait(kForever);
  }
  if (!closing_ || reading_ended_) co_return;
  {
    const Deadline deadline(transport_.socket(), kCloseTime);
    const websocket::close_reason reason(close_code_, close_reason_);
    co_await stream_.async_close(reason, kAwait);
  }
  transport_.close();
}

net::awaitable<bool> WebSocketPeer::send(std::string text) {
  const Deadline deadline(transport_.socket(), front_.options.write_timeout);
  const auto [error, taken] = co_await stream_.async_write(net::buffer(text), kAwait);
  co_return !error;
}

void WebSocketPeer::reply(const boost::json::object& object) {
  if (closing_) return;
  std::string text = to_json(object);
  outgoing_bytes_ += text.size();
  outgoing_.push_back(std::move(text));
  if (outgoing_bytes_ > front_.options.ws_max_buffer_bytes) {
    end_answer();
    close(CloseCode::policy_error, "you read too slowly");
  }
  work_->fire();
}

void WebSocketPeer::take_answer() {
  if (!inbox_) return;
  const AnswerInbox::News news = inbox_->take();
  if (news.overflow) {
    front_.metrics.chat_cancelled(true);
    front_.log.warning("server", "a WebSocket was closed: its client reads too slowly", {{"request_id", request_id_}});
    end_answer();
    outgoing_.clear();
    return close(CloseCode::policy_error, "you read too slowly");
  }
  const auto push = [&](const boost::json::object& object) {
    outgoing_.push_back(to_json(object));
    outgoing_bytes_ += outgoing_.back().size();
  };
  if (news.started) push(ws_start(answer_id_, *news.started));
  if (!news.text.empty()) push(ws_delta(answer_id_, news.text));
  if (news.done) {
    front_.metrics.chat_done(*news.done);
    push(ws_done(answer_id_, session_, *news.done));
  }
  if (news.error) push(ws_error(answer_id_, from_status(*news.error, ErrorPlace::kChat)));
  if (!news.last()) return;
  inbox_.reset();
  place_.reset();
}

void WebSocketPeer::end_answer() {
  if (!inbox_) return;
  if (reading_ended_ && !inbox_->finished()) front_.metrics.chat_cancelled(false);
  inbox_->cancel();
  inbox_.reset();
  place_.reset();
}

net::awaitable<void> WebSocketPeer::take_event(std::string text) {
  WsEvent event;
  if (const auto error = parse_ws_event(text, &event)) {
    reply(ws_error(event.id, *error));
    co_return;
  }
  switch (event.type) {
    case WsEvent::Type::kPing: {
      boost::json::object pong{{"type", "pong"}};
      if (!event.id.empty()) pong["id"] = event.id;
      reply(pong);
      break;
    }
    case WsEvent::Type::kCancel:
      if (inbox_) {
        end_answer();
        reply(ws_error(answer_id_, http_error(409, "cancelled", "cancelled, as asked")));
      }
      break;
    case WsEvent::Type::kMessage:
      co_await ask(std::move(event));
      break;
  }
}

net::awaitable<void> WebSocketPeer::ask(WsEvent event) {
  if (inbox_) {
    reply(ws_error(event.id, http_error(409, "busy", "an answer is running; wait for its end, or send cancel")));
    co_return;
  }
  auto place = std::make_unique<ChatPlace>(front_.chats, front_.options.max_queued_requests);
  if (!place->taken()) {
    reply(ws_error(event.id, http_error(429, "queue_full", "too many chat requests are running or waiting")));
    co_return;
  }
  event.request.principal = caller_.principal;
  event.request.session = session_;
  const auto inbox = std::make_shared<AnswerInbox>(AnswerInbox::Keep::kText, front_.options.ws_max_buffer_bytes,
                                                   waker(transport_.socket().get_executor(), work_));
  daemon::Service& service = *front_.service.load();
  daemon::ChatRequest& request = event.request;
  const Status status = co_await run_blocking(front_.blocking, [&]() -> Status {
    try {
      return service.chat(std::move(request), inbox);
    } catch (const std::exception& e) {
      return internal_error(e.what());
    }
  });
  if (!status.ok()) {
    inbox->cancel();
    reply(ws_error(event.id, from_status(status, ErrorPlace::kChat)));
    co_return;
  }
  inbox_ = inbox;
  place_ = std::move(place);
  answer_id_ = event.id;
  work_->fire();
}

void Connection::finish() {
  net::post(transport_.socket().get_executor(), [self = shared_from_this()] {
    if (const auto peer = self->web_socket_.lock()) peer->stop();
  });
}

net::awaitable<bool> Connection::web_socket(Parser& parser, Exchange* exchange) {
  if (!websocket::is_upgrade(parser.get()) || exchange->method == "HEAD") {
    Response response = error_response(
        http_error(426, "upgrade_required", "this is a WebSocket; send Connection: Upgrade and Upgrade: websocket"));
    response.headers.emplace_back("Upgrade", "websocket");
    co_return co_await respond(exchange, std::move(response));
  }
  daemon::Service& service = *front_.service.load();
  const Request& request = exchange->request;
  const Status status = co_await run_blocking(
      front_.blocking, [&] { return service.session(request.caller.principal, request.id).status(); });
  if (!status.ok()) co_return co_await respond(exchange, error_response(from_status(status, ErrorPlace::kSession)));
  if (buffer_.size() > 0)
    co_return co_await respond(
        exchange, error_response(http_error(400, "bad_request", "frames were sent before the upgrade was answered")),
        true);
  exchange->status = 101;
  count(*exchange);
  const auto peer = std::make_shared<WebSocketPeer>(front_, transport_, *exchange);
  web_socket_ = peer;
  co_await peer->run(parser.get());
  co_return false;
}

}  // namespace recalld::api
