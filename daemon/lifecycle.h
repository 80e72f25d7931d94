// What the service manager and the operator say to the process, and what it says back.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>

namespace recalld::daemon {

// systemd's notification protocol (sd_notify(3)). Everything is a no-op when NOTIFY_SOCKET is not set.
class Notifier {
 public:
  void ready(const std::string& status) const;
  void status(const std::string& status) const;
  // Between this and ready() a reload is going on.
  void reloading(int64_t monotonic_ns) const;
  void stopping(const std::string& status) const;
  void alive() const;
  // More time to start or stop, counted from now.
  void extend_timeout(std::chrono::seconds time) const;
  // How often alive() is due: half of what the manager allows. None without a watchdog.
  std::optional<std::chrono::milliseconds> watchdog_interval() const;
};

// SIGTERM, SIGINT and SIGHUP as events. Made by the main thread before any other thread starts: the signals are blocked
// in it and in all threads made later, and SIGPIPE is ignored; a signal that a thread made earlier (by a library) is
// given reaches the main thread all the same. The destructor restores mask and actions.
class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // The next signal, kWake, or none after the time is over. Of the thread that made this.
  std::optional<int> wait_for(std::chrono::milliseconds time) const;

  // From any thread: wait_for returns kWake, now or when it is next called.
  void wake() const;
  static constexpr int kWake = SIGUSR1;

 private:
  static constexpr std::array<int, 3> kEvents{SIGTERM, SIGINT, SIGHUP};

  pthread_t owner_{};
  sigset_t set_{};
  sigset_t before_{};
  std::array<struct sigaction, kEvents.size()> actions_before_{};
};

}  // namespace recalld::daemon
