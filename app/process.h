// The daemon from its first listener to its last byte.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/server.h"
#include "base/clock.h"
#include "daemon/config.h"
#include "daemon/lifecycle.h"
#include "daemon/logging.h"

namespace recalld::app {

inline constexpr int kExitStopped = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitConfig = 78;  // EX_CONFIG of sysexits.h: starting again will not help

class Process {
 public:
  // sources are read again on SIGHUP. Made before any thread is.
  Process(daemon::Config config, daemon::ConfigSources sources, const Clock& clock);
  ~Process();

  // Listens, loads the model, serves until a signal, drains. Returns the exit code.
  int run();

 private:
  // 0 when the service is open; else the exit code.
  int start();
  // Until SIGTERM or SIGINT.
  void serve();
  // Drains and ends everything.
  void stop();
  void reload();
  void feed_watchdog();
  std::chrono::milliseconds tick() const;

  daemon::Signals signals_;
  daemon::Config config_;
  const daemon::ConfigSources sources_;
  const Clock& clock_;
  daemon::Log log_;
  daemon::Notifier notifier_;
  api::KeyRing keys_;
  std::unique_ptr<daemon::Service> service_;
  std::unique_ptr<api::Server> server_;
};

}  // namespace recalld::app
