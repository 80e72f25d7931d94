#include "api/server.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <future>
#include <set>
#include <thread>

#include "api/connection.h"
#include "api/front.h"
#include "api/guard.h"

namespace recalld::api {
namespace {

using net::ip::tcp;
using Local = net::local::stream_protocol;

constexpr auto kAwait = net::as_tuple(net::use_awaitable);
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

struct Address {
  std::string host;
  uint16_t port = 0;
};

Result<Address> parse_address(const std::string& text) {
  const size_t colon = text.rfind(':');
  Address address;
  if (colon != std::string::npos) {
    address.host = text.substr(0, colon);
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, address.port);
    const bool bare_ipv6 = address.host.find(':') != std::string::npos && !address.host.starts_with('[');
    if (error == std::errc() && stop == end && !address.host.empty() && !bare_ipv6) return address;
  }
  return invalid_argument("server.listen: \"" + text +
                          "\" is not HOST:PORT with a port from 0 to 65535; write 127.0.0.1:8642 or [::1]:8642");
}

Result<tcp::endpoint> resolve(net::io_context& io, const std::string& text) {
  RECALLD_ASSIGN_OR_RETURN(const Address address, parse_address(text));
  std::string host = address.host;
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  error_code error;
  const auto literal = net::ip::make_address(host, error);
  if (!error) return tcp::endpoint(literal, address.port);
  tcp::resolver resolver(io);
  const auto found = resolver.resolve(host, std::to_string(address.port), error);
  if (error || found.empty())
    return invalid_argument("server.listen: the host of \"" + text + "\" is unknown: " + error.message());
  return found.begin()->endpoint();
}

std::string bind_failure(const std::string& address, error_code error) {
  std::string message = "cannot listen on " + address + ": " + error.message();
  if (error == net::error::address_in_use)
    message += "; another recalld or another program has it: stop that, or choose another server.listen";
  if (error == net::error::access_denied)
    message += "; ports below 1024 need a privilege: choose another server.listen";
  return message;
}

template <typename Acceptor, typename Endpoint>
error_code bind_to(Acceptor& acceptor, const Endpoint& endpoint) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(net::socket_base::max_listen_connections, error);
  return error;
}

// Removes a socket file that nobody listens on any more.
Status clear_stale_socket(net::io_context& io, const std::string& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return ok_status();
  if (!S_ISSOCK(info.st_mode))
    return failed_precondition("server.unix_socket: " + path + " exists and is not a socket; choose another path");
  Local::socket probe(io);
  error_code error;
  probe.connect(Local::endpoint(path), error);
  if (!error)
    return failed_precondition("server.unix_socket: another program listens on " + path +
                               "; stop it, or choose "
                               "another path");
  ::unlink(path.c_str());
  return ok_status();
}

}  // namespace

std::string Front::new_id(const std::string& prefix) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string id = prefix;
  const std::lock_guard lock(mutex_);
  uint64_t bits = 0;
  for (int i = 0; i < 24; ++i) {
    if (i % 16 == 0) bits = options.random();
    id += kHex[bits & 15];
    bits >>= 4;
  }
  return id;
}

void Front::set_starting(std::string reason) {
  const std::lock_guard lock(mutex_);
  starting_ = std::move(reason);
}

std::string Front::starting() const {
  const std::lock_guard lock(mutex_);
  return starting_;
}

Status check_listen(const std::vector<std::string>& listen, bool keys_required) {
  for (const std::string& text : listen) {
    RECALLD_ASSIGN_OR_RETURN(const Address address, parse_address(text));
    if (!keys_required && !is_loopback(address.host))
      return invalid_argument("server.listen: " + text +
                              " can be reached from other machines, and there are no API keys; set "
                              "server.api_keys_file, or listen on 127.0.0.1");
  }
  return ok_status();
}

class Server::Impl {
 public:
  Impl(ServerOptions options, KeyRing& keys, const Clock& clock, daemon::Log& log) : front(options, keys, clock, log) {}

  ~Impl() {
    io.stop();
    for (std::thread& thread : threads) thread.join();
    front.blocking.join();
    if (!unix_path.empty()) ::unlink(unix_path.c_str());
  }

  Status bind() {
    for (const std::string& text : front.options.listen) {
      RECALLD_ASSIGN_OR_RETURN(const tcp::endpoint endpoint, resolve(io, text));
      if (!front.keys.required() && !endpoint.address().is_loopback())
        return check_listen({text + " (not loopback)"}, false);
      tcp::acceptor acceptor(net::make_strand(io));
      if (const error_code error = bind_to(acceptor, endpoint); error)
        return failed_precondition(bind_failure(text, error));
      const tcp::endpoint bound = acceptor.local_endpoint();
      const std::string host = bound.address().to_string();
      addresses.push_back((bound.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(bound.port()));
      tcp_acceptors.push_back(std::move(acceptor));
    }
    if (!front.options.unix_socket.empty()) RECALLD_RETURN_IF_ERROR(bind_unix());
    if (addresses.empty()) return invalid_argument("server.listen and server.unix_socket are both empty; set one");
    return ok_status();
  }

  Status bind_unix() {
    const std::string& path = front.options.unix_socket;
    if (path.size() >= sizeof(sockaddr_un::sun_path))
      return invalid_argument("server.unix_socket: " + path + " is longer than a socket's path may be (" +
                              std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " bytes)");
    RECALLD_RETURN_IF_ERROR(clear_stale_socket(io, path));
    unix_acceptor.emplace(net::make_strand(io));
    // No moment in which others could connect.
    const mode_t before = ::umask(0117);
    const error_code error = bind_to(*unix_acceptor, Local::endpoint(path));
    ::umask(before);
    if (error) return failed_precondition("cannot listen on unix:" + path + ": " + error.message());
    unix_path = path;
    addresses.push_back("unix:" + path);
    return ok_status();
  }

  void run() {
    for (tcp::acceptor& acceptor : tcp_acceptors)
      net::co_spawn(acceptor.get_executor(), accept<tcp::acceptor, tcp::socket>(acceptor), net::detached);
    if (unix_acceptor)
      net::co_spawn(unix_acceptor->get_executor(), accept<Local::acceptor, Local::socket>(*unix_acceptor),
                    net::detached);
    for (int i = 0; i < front.options.io_threads; ++i) threads.emplace_back([this] { io.run(); });
  }

  template <typename Acceptor, typename AcceptedSocket>
  net::awaitable<void> accept(Acceptor& acceptor) {
    net::steady_timer pause(acceptor.get_executor());
    while (acceptor.is_open()) {
      AcceptedSocket socket(net::make_strand(io));
      const auto [error] = co_await acceptor.async_accept(socket, kAwait);
      if (error == net::error::operation_aborted || !acceptor.is_open()) co_return;
      if (error) {
        // Out of descriptors: the connections that end will free some.
        front.log.warning("server", "cannot accept a connection", {{"error", error.message()}});
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(kAwait);
        continue;
      }
      admit_socket(std::move(socket));
    }
  }

  static Door door_of(const tcp::socket& socket) {
    error_code error;
    const tcp::endpoint local = socket.local_endpoint(error);
    return {false, !error && local.address().is_loopback()};
  }
  static Door door_of(const Local::socket&) { return {true, false}; }

  template <typename AcceptedSocket>
  void admit_socket(AcceptedSocket socket) {
    const Door door = door_of(socket);
    if constexpr (std::is_same_v<AcceptedSocket, tcp::socket>) {
      error_code ignored;
      socket.set_option(tcp::no_delay(true), ignored);
    }
    if (front.metrics.connections.fetch_add(1) >= front.options.max_connections) {
      front.metrics.connections.fetch_sub(1);
      front.metrics.refused.fetch_add(1);
      refuse(std::move(socket));
      return;
    }
    const std::lock_guard lock(mutex);
    // One that came while the others were told to end.
    if (front.draining.load()) {
      front.metrics.connections.fetch_sub(1);
      return;
    }
    const uint64_t number = next_connection++;
    auto connection = std::make_shared<Connection>(front, Socket(std::move(socket)), door, [this, number] {
      const std::lock_guard inner(mutex);
      connections.erase(number);
      front.metrics.connections.fetch_sub(1);
      changed.notify_all();
    });
    connections.emplace(number, connection);
    connection->start();
  }

  template <typename AcceptedSocket>
  void refuse(AcceptedSocket socket) {
    Exchange exchange;
    exchange.request_id = front.new_id("req_");
    const Response response =
        error_response(http_error(503, "unavailable",
                                  "all " + std::to_string(front.options.max_connections) +
                                      " connections are in use (server.max_connections); try again in a moment"));
    const std::string text = response_head(exchange, response, response.body.size()) + response.body;
    error_code ignored;
    socket.non_blocking(true, ignored);
    socket.write_some(net::buffer(text), ignored);
    socket.shutdown(net::socket_base::shutdown_send, ignored);
  }

  std::vector<std::shared_ptr<Connection>> open_connections() {
    std::vector<std::shared_ptr<Connection>> open;
    const std::lock_guard lock(mutex);
    for (const auto& [number, weak] : connections)
      if (auto connection = weak.lock()) open.push_back(std::move(connection));
    return open;
  }

  template <typename Acceptor>
  void close_acceptor(Acceptor& acceptor) {
    std::promise<void> closed;
    net::dispatch(acceptor.get_executor(), [&] {
      error_code ignored;
      acceptor.close(ignored);
      closed.set_value();
    });
    closed.get_future().wait();
  }

  Front front;
  std::vector<std::string> addresses;
  std::string unix_path;

  std::mutex mutex;  // guards the next three
  std::condition_variable changed;
  std::map<uint64_t, std::weak_ptr<Connection>> connections;
  uint64_t next_connection = 0;

  // Destroyed first of all: with it go the coroutines, which use what is above.
  net::io_context io;
  std::vector<tcp::acceptor> tcp_acceptors;
  std::optional<Local::acceptor> unix_acceptor;
  std::vector<std::thread> threads;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, KeyRing& keys, const Clock& clock,
                                              daemon::Log& log) {
  for (std::string& host : options.allowed_hosts) host = host_of(host);
  RECALLD_RETURN_IF_ERROR(check_listen(options.listen, keys.required()));
  auto impl = std::make_unique<Impl>(std::move(options), keys, clock, log);
  RECALLD_RETURN_IF_ERROR(impl->bind());
  impl->run();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

const std::vector<std::string>& Server::addresses() const { return impl_->addresses; }

void Server::set_starting(const std::string& reason) { impl_->front.set_starting(reason); }

void Server::open(daemon::Service& service) { impl_->front.service.store(&service); }

bool Server::alive(std::chrono::milliseconds time) {
  // One task for each thread; a thread that is stuck leaves its task to the others, so all must be met at once.
  struct Meeting {
    std::mutex mutex;
    std::condition_variable changed;
    int present = 0;
  };
  const auto meeting = std::make_shared<Meeting>();
  const int wanted = impl_->front.options.io_threads;
  const auto deadline = std::chrono::steady_clock::now() + time;
  for (int i = 0; i < wanted; ++i) {
    net::post(impl_->io, [meeting, wanted, deadline] {
      std::unique_lock lock(meeting->mutex);
      ++meeting->present;
      meeting->changed.notify_all();
      meeting->changed.wait_until(lock, deadline, [&] { return meeting->present >= wanted; });
    });
  }
  std::unique_lock lock(meeting->mutex);
  return meeting->changed.wait_until(lock, deadline, [&] { return meeting->present >= wanted; });
}

void Server::begin_drain() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->front.draining.store(true);
  }
  for (tcp::acceptor& acceptor : impl_->tcp_acceptors) impl_->close_acceptor(acceptor);
  if (impl_->unix_acceptor) impl_->close_acceptor(*impl_->unix_acceptor);
  for (const auto& connection : impl_->open_connections()) connection->drain();
}

void Server::finish(std::chrono::milliseconds grace) {
  for (const auto& connection : impl_->open_connections()) connection->finish();
  std::unique_lock lock(impl_->mutex);
  impl_->changed.wait_for(lock, grace, [&] { return impl_->connections.empty(); });
}

}  // namespace recalld::api
