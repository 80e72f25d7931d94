// What all connections share.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>

#include "api/http_metrics.h"
#include "api/keys.h"
#include "api/server.h"
#include "base/clock.h"
#include "daemon/logging.h"
#include "daemon/service.h"

namespace recalld::api {

struct Front {
  Front(const ServerOptions& server_options, KeyRing& key_ring, const Clock& the_clock, daemon::Log& the_log)
      : options(server_options), keys(key_ring), clock(the_clock), log(the_log) {}

  const ServerOptions options;
  KeyRing& keys;
  const Clock& clock;
  daemon::Log& log;
  HttpMetrics metrics;
  // Calls of the Service block on the disk; they run here, never on the network's threads.
  boost::asio::thread_pool blocking{4};

  std::atomic<daemon::Service*> service{nullptr};
  std::atomic<bool> draining{false};
  std::atomic<int64_t> chats{0};

  // prefix and 24 random hexadecimal digits.
  std::string new_id(const std::string& prefix);
  void set_starting(std::string reason);
  std::string starting() const;

 private:
  mutable std::mutex mutex_;
  std::string starting_ = "starting";
};

}  // namespace recalld::api
