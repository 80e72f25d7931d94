// The Service that runs a model in this process.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/engine_loop.h"
#include "daemon/open_service.h"
#include "daemon/service.h"

namespace recalld::daemon {

class EngineService final : public Service {
 public:
  // Everything is open; the loop is started here. encoder: null for the model's own states. random gives session ids
  // and sampling seeds.
  EngineService(const ServiceOptions& options, const Clock& clock, EventLog log,
                std::shared_ptr<const runtime::Model> model, std::unique_ptr<runtime::Engine> engine,
                std::unique_ptr<runtime::TextEncoder> encoder, std::unique_ptr<storage::Stores> stores,
                episodes::TrunkOptions trunk, std::function<uint64_t()> random);
  ~EngineService() override;

  // Takes up reading where it stopped, for every session that has unread turns.
  Status resume();

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
  Result<storage::SessionRow> owned(const std::string& principal, const std::string& id);
  Result<episodes::TranscriptFormat> format_of(episodes::Style style) const;
  episodes::Style default_style() const;
  episodes::Style style_of(const storage::SessionRow& row) const;
  // False for a trunk of another model, codec or settings: it will be read anew.
  bool is_current(const storage::TrunkRow& trunk, episodes::Style style) const;
  // False when segments of it wait for their vectors, or have those of another encoder.
  bool is_embedded(const storage::TrunkRow& trunk) const;
  // Of a session that is not in use: what is stored of its episodes.
  Status describe_stored(const std::string& id, const storage::TrunkRow& trunk, MemoryInfo* info);
  Result<std::vector<storage::TurnRow>> rows_of(std::span<const Message> messages, bool date_now) const;
  Status chat_stateless(const ChatRequest& request, std::shared_ptr<ChatSink> sink);
  Status chat_in_session(const ChatRequest& request, std::shared_ptr<ChatSink> sink);
  // The messages of a request that the transcript does not have yet.
  Result<std::vector<Message>> new_messages(const std::string& session, const std::vector<Message>& messages);
  Status check_fits(size_t tokens) const;
  uint64_t draw();

  const ServiceOptions options_;
  const Clock& clock_;
  EventLog log_;
  std::shared_ptr<const runtime::Model> model_;
  std::shared_ptr<const runtime::Tokenizer> tokenizer_;
  std::shared_ptr<cache::MemoryPool> pool_;
  std::unique_ptr<runtime::TextEncoder> encoder_;  // used by the loop's thread alone
  std::unique_ptr<storage::Stores> stores_;
  std::atomic<int64_t> pages_dropped_{0};
  episodes::TrunkOptions trunk_options_;
  std::mutex random_mutex_;
  std::function<uint64_t()> random_;
  // Questions of one session are stored and queued in one order.
  std::mutex submit_mutex_;
  std::unique_ptr<EngineLoop> loop_;
};

}  // namespace recalld::daemon
