// POST /v1/chat/completions on a connection.
#include <boost/asio/post.hpp>

#include "api/blocking.h"
#include "api/connection.h"
#include "api/prepared_chat.h"

namespace recalld::api {
namespace {

constexpr Milliseconds kForever = std::chrono::hours(24);
// After the peer has ended its side a comment tells whether it still reads.
constexpr Milliseconds kProbeInterval(1000);

PreparedChat prepare(const Exchange& exchange, Front& front, const net::any_io_executor& executor,
                     std::shared_ptr<Signal> signal) {
  PreparedChat chat;
  daemon::Service& service = *front.service.load();
  boost::json::object body;
  chat.error = parse_body(exchange.request.body, &body);
  if (chat.error) return chat;
  chat.head.id = front.new_id("chatcmpl-");
  chat.head.created_s = front.clock.now_ms() / 1000;
  chat.head.model = service.model().id;
  ChatCall call;
  chat.error = parse_chat(body, exchange.session_header, chat.head.model, &call);
  if (chat.error) return chat;
  chat.head.session = call.request.session;
  chat.stream = call.stream;
  chat.include_usage = call.include_usage;
  call.request.principal = exchange.request.caller.principal;
  chat.signal = std::move(signal);
  chat.inbox = std::make_shared<AnswerInbox>(chat.stream ? AnswerInbox::Keep::kText : AnswerInbox::Keep::kNone,
                                             front.options.max_stream_buffer_bytes, waker(executor, chat.signal));
  const Status status = service.chat(std::move(call.request), chat.inbox);
  if (status.ok()) return chat;
  chat.inbox->cancel();
  chat.error = from_status(status, ErrorPlace::kChat);
  return chat;
}

std::string framed(const Exchange& exchange, const std::string& text) {
  if (!exchange.http11 || text.empty()) return text;
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

// The events of what came since the last time, without the first chunk.
std::string events_of(const PreparedChat& chat, const AnswerInbox::News& news) {
  std::string text;
  if (!news.text.empty()) text += sse_event(delta_chunk(chat.head, news.text, chat.include_usage));
  if (news.error) text += sse_event(error_json(from_status(*news.error, ErrorPlace::kChat)));
  if (news.done) {
    text += sse_event(last_chunk(chat.head, *news.done, chat.include_usage));
    if (chat.include_usage) text += sse_event(usage_chunk(chat.head, *news.done));
    text += "data: [DONE]\n\n";
  }
  return text;
}

}  // namespace

std::function<void()> waker(const net::any_io_executor& executor, const std::shared_ptr<Signal>& signal) {
  return [executor, weak = std::weak_ptr<Signal>(signal)] {
    net::post(executor, [weak] {
      if (const auto alive = weak.lock()) alive->fire();
    });
  };
}

net::awaitable<bool> Connection::chat(Exchange* exchange) {
  const ChatPlace place(front_.chats, front_.options.max_queued_requests);
  if (!place.taken()) {
    const HttpError error = http_error(429, "queue_full",
                                       std::to_string(front_.options.max_queued_requests) +
                                           " chat requests are running or waiting (server.max_queued_requests); try "
                                           "again in a moment");
    co_return co_await respond(exchange, error_response(error));
  }
  const net::any_io_executor executor = transport_.socket().get_executor();
  const auto signal = std::make_shared<Signal>(executor);
  Front& front = front_;
  const PreparedChat chat = co_await run_blocking(front_.blocking, [&]() -> PreparedChat {
    try {
      return prepare(*exchange, front, executor, signal);
    } catch (const std::exception& e) {
      front.log.error("server", "a chat failed", {{"request_id", exchange->request_id}, {"error", e.what()}});
      PreparedChat failed;
      failed.error = http_error(500, "internal", "a defect of the daemon; its log has the request id");
      return failed;
    }
  });
  if (chat.error) co_return co_await respond(exchange, error_response(*chat.error));
  exchange->request.body.clear();
  const InboxGuard guard(chat.inbox);
  watch_peer(chat.signal);
  bool keep = false;
  if (chat.stream)
    keep = co_await chat_stream(exchange, chat);
  else
    keep = co_await chat_whole(exchange, chat);
  stop_watching();
  co_return keep;
}

net::awaitable<bool> Connection::chat_whole(Exchange* exchange, const PreparedChat& chat) {
  while (true) {
    AnswerInbox::News news = chat.inbox->take();
    if (news.done) {
      front_.metrics.chat_done(*news.done);
      stop_watching();
      co_return co_await respond(exchange, json_response(200, completion_json(chat.head, *news.done)));
    }
    if (news.error) {
      stop_watching();
      co_return co_await respond(exchange, error_response(from_status(*news.error, ErrorPlace::kChat)));
    }
    if (peer_ == Transport::Peer::kEnded || peer_ == Transport::Peer::kGone) {
      front_.metrics.chat_cancelled(false);
      front_.log.debug("server", "the client left before its answer", {{"request_id", exchange->request_id}});
      co_return false;
    }
    if (news.empty()) co_await chat.signal->wait(kForever);
  }
}

std::string Connection::open_stream(Exchange* exchange) {
  exchange->status = 200;
  Response head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  if (!exchange->http11 || front_.draining.load()) exchange->keep_alive = false;
  return response_head(*exchange, head, std::nullopt);
}

net::awaitable<bool> Connection::chat_stream(Exchange* exchange, const PreparedChat& chat) {
  bool begun = false;
  while (true) {
    const AnswerInbox::News news = chat.inbox->take();
    // The status line waits for the first text, so that an error before it has a status of its own.
    if (news.error && exchange->status == 0)
      co_return co_await respond(exchange, error_response(from_status(*news.error, ErrorPlace::kChat)));
    std::string events;
    if (news.empty()) {
      const bool ended = peer_ == Transport::Peer::kEnded;
      const bool woken = co_await chat.signal->wait(ended ? kProbeInterval : front_.options.keepalive_interval);
      const bool just_ended = peer_ == Transport::Peer::kEnded && !ended;
      if (woken && !just_ended && peer_ != Transport::Peer::kGone) continue;
      events = ": keep-alive\n\n";
    } else if (news.text.empty() && !news.last()) {
      continue;
    }
    std::string text;
    if (exchange->status == 0) text = open_stream(exchange);
    if (!begun && (!news.text.empty() || news.done)) {
      begun = true;
      events += sse_event(first_chunk(chat.head, chat.include_usage));
    }
    events += events_of(chat, news);
    text += framed(*exchange, events);
    if (news.last() && exchange->http11) text += "0\r\n\r\n";

    if (news.done) front_.metrics.chat_done(*news.done);
    bool written = false;
    if (!news.overflow) written = co_await transport_.write(text, front_.options.write_timeout);
    if (!written) {
      const bool slow = news.overflow || chat.inbox->take().overflow;
      front_.metrics.chat_cancelled(slow);
      front_.log.write(
          slow ? daemon::LogLevel::kWarning : daemon::LogLevel::kDebug, "server",
          slow ? "a stream was cut off: its client reads too slowly" : "the client left in the middle of its answer",
          {{"request_id", exchange->request_id}});
      exchange->keep_alive = false;
    }
    if (!written || news.last()) {
      count(*exchange);
      co_return written && exchange->keep_alive;
    }
  }
}

}  // namespace recalld::api
