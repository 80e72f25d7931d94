// The network front: listens, speaks HTTP and WebSocket, calls the Service.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/keys.h"
#include "base/clock.h"
#include "base/status.h"
#include "daemon/logging.h"
#include "daemon/service.h"

namespace recalld::api {

struct ServerOptions {
  std::vector<std::string> listen;  // "127.0.0.1:8642", "[::1]:0", "localhost:80"
  std::string unix_socket;          // or empty
  std::vector<std::string> allowed_hosts;
  std::vector<std::string> allowed_origins;
  int io_threads = 2;
  size_t max_body_bytes = size_t{32} << 20;
  size_t max_header_bytes = size_t{16} << 10;
  size_t max_stream_buffer_bytes = size_t{256} << 10;
  size_t ws_max_buffer_bytes = size_t{256} << 10;
  int64_t max_connections = 256;
  int64_t max_queued_requests = 64;
  std::chrono::milliseconds header_timeout{10'000};
  std::chrono::milliseconds body_timeout{30'000};
  std::chrono::milliseconds idle_timeout{75'000};
  std::chrono::milliseconds write_timeout{30'000};
  std::chrono::milliseconds keepalive_interval{15'000};
  std::chrono::milliseconds ws_ping_interval{20'000};
  std::function<uint64_t()> random;  // for ids; called under a lock
};

// What listen and the keys allow: kInvalidArgument for an address that makes no sense, or one that is not loopback
// while keys are not required.
Status check_listen(const std::vector<std::string>& listen, bool keys_required);

// Threads: all functions from one thread, the owner's; connections live on the server's own.
class Server {
 public:
  // Binds and serves. Until open(), only /health and /ready are answered, the rest with 503. Keys, clock and log
  // outlive the server. Errors name the address: kFailedPrecondition when it is taken, kInvalidArgument when it is
  // wrong.
  static Result<std::unique_ptr<Server>> start(ServerOptions options, KeyRing& keys, const Clock& clock,
                                               daemon::Log& log);
  // Closes everything at once. The service must have ended all answers, or never be used again.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "127.0.0.1:8642" with the ports in use, and "unix:/path".
  const std::vector<std::string>& addresses() const;

  // What /ready says until open().
  void set_starting(const std::string& reason);
  // From now on requests are served. The service outlives the server.
  void open(daemon::Service& service);

  // True when the network's threads answer within the time; for the watchdog.
  bool alive(std::chrono::milliseconds time);

  // No new connections; idle ones are closed, the others after their answer.
  void begin_drain();
  // Tells WebSockets that the daemon stops (1012) and waits for answers on their way out, at most `grace`.
  void finish(std::chrono::milliseconds grace);

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::api
