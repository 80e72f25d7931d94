// A real Service on a temporary directory, with the default model and one thread.
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>

#include "daemon/open_service.h"

namespace recalld::daemon {

// Collects one answer; wait() returns when it is over.
class Collector final : public ChatSink {
 public:
  // Ends the generation after this many deltas; 0 = never.
  explicit Collector(int stop_after = 0) : stop_after_(stop_after) {}

  void on_start(int64_t user_turn) override;
  bool on_delta(const std::string& text) override;
  void on_done(const ChatResult& result) override;
  void on_error(const Status& status) override;

  Result<ChatResult> wait();
  std::string streamed() const;
  int starts() const { return starts_; }
  bool over() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string streamed_;
  int stop_after_, deltas_ = 0, starts_ = 0, ends_ = 0;
  std::optional<ChatResult> result_;
  Status error_;
};

class ServiceTest : public testing::Test {
 protected:
  ServiceTest();
  ~ServiceTest() override;

  // Closes the service, if open, and opens it on the same directory.
  void reopen();
  void close() { service_.reset(); }

  std::string new_session(const std::string& style = "plain", const std::string& principal = "local");
  // Turns of two people; about 30 tokens each.
  static std::vector<Message> talk(int turns, const std::string& secret = "blue");
  // Waits until all turns are in memory.
  MemoryInfo settle(const std::string& session, const std::string& principal = "local");
  // A greedy answer of at most max_tokens tokens.
  Result<ChatResult> ask(const std::string& session, const std::string& question, int max_tokens = 12,
                         bool remember = true, const std::string& principal = "local");

  SystemClock clock_;
  std::filesystem::path directory_;
  ServiceOptions options_;
  std::vector<std::string> log_;
  std::mutex log_mutex_;
  std::unique_ptr<Service> service_;
};

}  // namespace recalld::daemon
