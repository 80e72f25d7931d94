#include "api/connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>

#include "api/blocking.h"

namespace recalld::api {
namespace {

namespace http = boost::beast::http;

// Counts while it lives.
class Counted {
 public:
  explicit Counted(std::atomic<int64_t>& number) : number_(number) { number_.fetch_add(1); }
  ~Counted() { number_.fetch_sub(1); }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int64_t>& number_;
};

constexpr auto kAwait = net::as_tuple(net::use_awaitable);

// False for errors of the socket, such as a reset.
bool is_http_error(error_code error) {
  return error.category() == http::make_error_code(http::error::end_of_stream).category();
}

HttpError header_error(error_code error, size_t max_header_bytes) {
  if (error == http::error::partial_message)
    return http_error(400, "bad_request", "the connection ended before the headers were complete");
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return http_error(431, "headers_too_large",
                      "the request line and headers have more than " + std::to_string(max_header_bytes) +
                          " bytes (server.max_header_bytes)");
  return http_error(400, "bad_request", "this is not a valid HTTP/1.1 request: " + error.message());
}

}  // namespace

Connection::Connection(Front& front, Socket socket, Door door, std::function<void()> on_end)
    : front_(front), transport_(std::move(socket)), door_(door), on_end_(std::move(on_end)) {}

Connection::~Connection() = default;

void Connection::start() {
  net::co_spawn(
      transport_.socket().get_executor(), [self = shared_from_this()] { return self->run(); },
      [self = shared_from_this()](std::exception_ptr failure) {
        if (failure) {
          try {
            std::rethrow_exception(failure);
          } catch (const std::exception& e) {
            self->front_.log.error("server", "a connection failed", {{"error", e.what()}});
          }
        }
        self->transport_.close();
        self->on_end_();
      });
}

void Connection::drain() {
  net::post(transport_.socket().get_executor(), [self = shared_from_this()] {
    error_code ignored;
    if (self->idle_) self->transport_.socket().cancel(ignored);
  });
}

net::awaitable<void> Connection::run() {
  bool more = co_await serve(true);
  while (more && !front_.draining.load()) more = co_await serve(false);
}

net::awaitable<bool> Connection::serve(bool first) {
  if (buffer_.size() == 0) {
    idle_ = true;
    const bool readable =
        co_await transport_.wait_readable(first ? front_.options.header_timeout : front_.options.idle_timeout);
    idle_ = false;
    if (!readable) co_return false;
  }
  const Counted in_flight(front_.metrics.in_flight);
  Exchange exchange;
  exchange.started_ns = front_.clock.monotonic_ns();
  exchange.request_id = front_.new_id("req_");
  Parser parser;
  parser.header_limit(static_cast<uint32_t>(front_.options.max_header_bytes));
  parser.body_limit(boost::none);
  error_code error;
  bool late = false;
  {
    const Deadline deadline(transport_.socket(), front_.options.header_timeout);
    const auto [failure, taken] = co_await http::async_read_header(transport_.socket(), buffer_, parser, kAwait);
    error = failure;
    late = deadline.expired();
  }
  if (error == http::error::end_of_stream || (error && !late && !is_http_error(error))) co_return false;
  if (late && error) {
    Response response =
        error_response(http_error(408, "timeout", "the headers came too slowly (server.header_timeout)"));
    co_return co_await respond(&exchange, std::move(response), true);
  }
  if (error)
    co_return co_await respond(&exchange, error_response(header_error(error, front_.options.max_header_bytes)), true);

  exchange.keep_alive = parser.keep_alive() && !front_.draining.load();
  const boost::optional<uint64_t> length = parser.content_length();
  const bool has_body = parser.chunked() || length.value_or(0) > 0;
  std::optional<Response> refusal = admit(parser.get().base(), length ? std::optional<uint64_t>(*length) : std::nullopt,
                                          has_body, door_, front_, &exchange);
  if (refusal) co_return co_await respond(&exchange, std::move(*refusal), has_body);
  if (exchange.request.endpoint == Endpoint::kWebSocket) co_return co_await web_socket(parser, &exchange);
  if (has_body) {
    const bool complete = co_await read_body(parser, &exchange);
    if (!complete) co_return false;
  }
  exchange.request.body = std::move(parser.get().body());
  co_return co_await dispatch(parser, &exchange);
}

net::awaitable<bool> Connection::read_body(Parser& parser, Exchange* exchange) {
  parser.body_limit(front_.options.max_body_bytes);
  if (exchange->expects_continue && !parser.is_done()) {
    const bool written = co_await transport_.write("HTTP/1.1 100 Continue\r\n\r\n", front_.options.write_timeout);
    if (!written) co_return false;
  }
  while (!parser.is_done()) {
    error_code error;
    bool late = false;
    {
      const Deadline deadline(transport_.socket(), front_.options.body_timeout);
      const auto [failure, taken] = co_await http::async_read_some(transport_.socket(), buffer_, parser, kAwait);
      error = failure;
      late = deadline.expired();
    }
    if (!error) continue;
    HttpError problem = http_error(400, "bad_request", "the body is not as announced: " + error.message());
    if (late)
      problem = http_error(408, "timeout", "the body came too slowly (server.body_timeout)");
    else if (error == http::error::body_limit)
      problem = http_error(
          413, "too_large",
          "the body has more than " + std::to_string(front_.options.max_body_bytes) + " bytes (server.max_body_bytes)");
    else if (error == http::error::partial_message)
      problem = http_error(400, "bad_request", "the connection ended before the body was complete");
    co_await respond(exchange, error_response(problem), true);
    co_return false;
  }
  co_return true;
}

net::awaitable<bool> Connection::dispatch(Parser& parser, Exchange* exchange) {
  if (parser.get().method() != http::verb::head && exchange->request.endpoint == Endpoint::kChat)
    co_return co_await chat(exchange);
  Response response = co_await call(exchange);
  co_return co_await respond(exchange, std::move(response));
}

net::awaitable<Response> Connection::call(Exchange* exchange) {
  switch (exchange->request.endpoint) {
    case Endpoint::kHealth:
      co_return json_response(200, {{"status", "ok"}});
    case Endpoint::kReady:
      co_return ready_response();
    case Endpoint::kMetrics:
      co_return metrics_response();
    default:
      break;
  }
  daemon::Service& service = *front_.service.load();
  const Request& request = exchange->request;
  Front& front = front_;
  const std::string& request_id = exchange->request_id;
  co_return co_await run_blocking(front_.blocking, [&] {
    try {
      return handle(request, service);
    } catch (const std::exception& e) {
      front.log.error("server", "a request failed", {{"request_id", request_id}, {"error", e.what()}});
      return error_response(http_error(500, "internal", "a defect of the daemon; its log has the request id"));
    }
  });
}

Response Connection::ready_response() const {
  daemon::Service* service = front_.service.load();
  Status status = service == nullptr ? unavailable(front_.starting()) : service->ready();
  if (status.ok() && front_.draining.load()) status = unavailable("the daemon is shutting down");
  if (status.ok()) return json_response(200, {{"status", "ready"}});
  const HttpError error = from_status(status, ErrorPlace::kOther);
  boost::json::object body = error_json(error);
  body["status"] = status_code_name(status.code());
  body["reason"] = status.message();
  Response response = json_response(503, body);
  response.headers.emplace_back("Retry-After", "2");
  return response;
}

Response Connection::metrics_response() const {
  daemon::Service* service = front_.service.load();
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body =
      front_.metrics.render(service == nullptr ? std::vector<daemon::Service::Metric>() : service->metrics());
  return response;
}

net::awaitable<bool> Connection::respond(Exchange* exchange, Response response, bool drop_input) {
  if (drop_input || front_.draining.load()) exchange->keep_alive = false;
  exchange->status = response.status;
  std::string text = response_head(*exchange, response, response.body.size());
  if (exchange->method != "HEAD" && response.status != 204) text += response.body;
  const bool written = co_await transport_.write(text, front_.options.write_timeout);
  count(*exchange);
  if (written && drop_input) co_await transport_.linger();
  co_return written && exchange->keep_alive;
}

void Connection::count(const Exchange& exchange) {
  const double seconds = static_cast<double>(front_.clock.monotonic_ns() - exchange.started_ns) * 1e-9;
  front_.metrics.request_done(exchange.pattern, exchange.method, exchange.status, seconds);
  const daemon::LogLevel level =
      exchange.status >= 500 && exchange.status != 503 ? daemon::LogLevel::kWarning : daemon::LogLevel::kDebug;
  front_.log.write(level, "server", exchange.method + " " + exchange.pattern,
                   {{"code", std::to_string(exchange.status)},
                    {"duration_s", std::to_string(seconds)},
                    {"request_id", exchange.request_id}});
}

void Connection::watch_peer(std::shared_ptr<Signal> signal) {
  watching_ = true;
  peer_ = Transport::Peer::kQuiet;
  transport_.socket().async_wait(Socket::wait_read, [self = shared_from_this(), signal](error_code error) {
    if (error || !self->watching_) return;
    self->peer_ = self->transport_.peek();
    if (self->peer_ == Transport::Peer::kQuiet) return self->watch_peer(signal);
    signal->fire();
  });
}

void Connection::stop_watching() {
  watching_ = false;
  error_code ignored;
  transport_.socket().cancel(ignored);
}

}  // namespace recalld::api
