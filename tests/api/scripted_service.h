// A Service whose answers a test writes. Sessions live in memory; chats run on a thread of their own, like the
// engine's.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "daemon/service.h"

namespace recalld::daemon {

class ScriptedService final : public Service {
 public:
  using Script = std::function<void(const ChatRequest& request, ChatSink& sink)>;

  ScriptedService();
  ~ScriptedService() override;

  // What chats do from now on. The default answers "Hello, world." in three pieces.
  void set_script(Script script);
  void set_ready(Status status);
  // Returned by storage calls and chat() while it is an error.
  void set_failure(Status status);
  // Requests in the order they came.
  std::vector<ChatRequest> requests() const;
  // Waits until `count` chats have ended; false after ten seconds.
  bool wait_ended(size_t count) const;
  static ChatResult result(const std::string& text);

  ModelCard model() const override;
  Status ready() const override;
  Result<SessionInfo> create_session(const std::string& principal, const std::string& title,
                                     const std::string& style) override;
  Result<SessionInfo> session(const std::string& principal, const std::string& id) override;
  Result<std::vector<SessionInfo>> sessions(const std::string& principal) override;
  Result<MemoryInfo> memory(const std::string& principal, const std::string& id) override;
  Result<std::vector<Turn>> turns(const std::string& principal, const std::string& id, int64_t first,
                                  int64_t limit) override;
  Status remove_session(const std::string& principal, const std::string& id) override;
  Result<int64_t> append(const std::string& principal, const std::string& id,
                         std::span<const Message> messages) override;
  Result<ImportResult> import(const std::string& principal, const std::string& id, std::span<const Message> messages,
                              const std::string& content_digest) override;
  Status chat(ChatRequest request, std::shared_ptr<ChatSink> sink) override;
  Status backup(const std::string& path) override;
  Result<std::vector<StoreCheck>> verify() override;
  std::vector<Metric> metrics() const override;
  void reload(const std::map<std::string, std::string>& settings) override;
  void drain(int64_t deadline_ms) override;

 private:
  struct Stored {
    std::string principal;
    SessionInfo info;
    std::vector<Turn> turns;
    std::map<std::string, int64_t> imports;
  };
  struct Job {
    ChatRequest request;
    std::shared_ptr<ChatSink> sink;
  };
  Result<Stored*> find(const std::string& principal, const std::string& id);
  void run();

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  Script script_;
  Status ready_, failure_;
  std::map<std::string, Stored> stored_;
  std::vector<ChatRequest> requests_;
  std::deque<Job> jobs_;
  size_t ended_ = 0;
  bool stop_ = false;
  std::thread engine_;
};

}  // namespace recalld::daemon
