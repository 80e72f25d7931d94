#include "daemon/lifecycle.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace recalld::daemon {
namespace {

void notify(const std::string& state) { sd_notify(0, state.c_str()); }

// Libraries make threads before main() runs, which block nothing: what one of them is given goes on to the main thread,
// whose id is the process's.
void pass_on(int number) { syscall(SYS_tgkill, getpid(), getpid(), number); }

}  // namespace

void Notifier::ready(const std::string& status) const { notify("READY=1\nSTATUS=" + status); }

void Notifier::status(const std::string& status) const { notify("STATUS=" + status); }

void Notifier::reloading(int64_t monotonic_ns) const {
  notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_ns / 1000));
}

void Notifier::stopping(const std::string& status) const { notify("STOPPING=1\nSTATUS=" + status); }

void Notifier::alive() const { notify("WATCHDOG=1"); }

void Notifier::extend_timeout(std::chrono::seconds time) const {
  notify("EXTEND_TIMEOUT_USEC=" + std::to_string(std::chrono::microseconds(time).count()));
}

std::optional<std::chrono::milliseconds> Notifier::watchdog_interval() const {
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) <= 0 || usec == 0) return std::nullopt;
  return std::chrono::milliseconds(std::max<uint64_t>(1, usec / 2000));
}

Signals::Signals() : owner_(pthread_self()) {
  sigemptyset(&set_);
  for (const int one : kEvents) sigaddset(&set_, one);
  sigaddset(&set_, kWake);
  pthread_sigmask(SIG_BLOCK, &set_, &before_);
  struct sigaction action {};
  action.sa_handler = pass_on;
  action.sa_flags = SA_RESTART;
  for (size_t i = 0; i < kEvents.size(); ++i) sigaction(kEvents[i], &action, &actions_before_[i]);
  ::signal(SIGPIPE, SIG_IGN);
}

Signals::~Signals() {
  for (size_t i = 0; i < kEvents.size(); ++i) sigaction(kEvents[i], &actions_before_[i], nullptr);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Signals::wake() const { pthread_kill(owner_, kWake); }

std::optional<int> Signals::wait_for(std::chrono::milliseconds time) const {
  const auto deadline = std::chrono::steady_clock::now() + time;
  while (true) {
    const auto left =
        std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(deadline - std::chrono::steady_clock::now()));
    timespec wait{};
    wait.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
    wait.tv_nsec = (left % std::chrono::seconds(1)).count();
    const int number = sigtimedwait(&set_, nullptr, &wait);
    if (number > 0) return number;
    // A stopped and continued process wakes early.
    if (errno != EINTR) return std::nullopt;
  }
}

}  // namespace recalld::daemon
