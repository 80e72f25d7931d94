#include "daemon/lifecycle.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <thread>

namespace recalld::daemon {
namespace {

using std::chrono::milliseconds;

TEST(Signals, ArriveAsEvents) {
  const Signals signals;
  EXPECT_EQ(signals.wait_for(milliseconds(1)), std::nullopt);
  for (const int one : {SIGTERM, SIGINT, SIGHUP}) {
    ::kill(::getpid(), one);
    EXPECT_EQ(signals.wait_for(milliseconds(5000)), one);
  }
}

TEST(Signals, ReachTheMainThreadThroughThreadsMadeBefore) {
  std::atomic<bool> done = false;
  std::thread earlier([&] {
    while (!done) std::this_thread::sleep_for(milliseconds(1));
  });
  {
    const Signals signals;
    for (const int one : {SIGTERM, SIGINT, SIGHUP}) {
      ::kill(::getpid(), one);
      std::this_thread::sleep_for(milliseconds(50));
      EXPECT_EQ(signals.wait_for(milliseconds(5000)), one);
    }
  }
  done = true;
  earlier.join();
}

TEST(Signals, WakeEndsTheWaitOfAnotherThread) {
  const Signals signals;
  std::thread other([&] { signals.wake(); });
  EXPECT_EQ(signals.wait_for(milliseconds(5000)), Signals::kWake);
  other.join();
}

TEST(Signals, MaskIsRestored) {
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  { const Signals signals; }
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
}

TEST(Notifier, WithoutAManagerNothingHappens) {
  ::unsetenv("NOTIFY_SOCKET");
  ::unsetenv("WATCHDOG_USEC");
  const Notifier notifier;
  notifier.ready("x");
  notifier.stopping("x");
  EXPECT_EQ(notifier.watchdog_interval(), std::nullopt);
}

}  // namespace
}  // namespace recalld::daemon
