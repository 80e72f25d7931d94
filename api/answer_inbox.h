// Between the engine thread and a client: holds what the client has not taken yet, up to a bound. The engine never
// waits for a client, and a client never for another.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "daemon/service.h"

namespace recalld::api {

class AnswerInbox final : public daemon::ChatSink {
 public:
  enum class Keep {
    kText,  // deltas are kept to be taken, at most max_bytes of them
    kNone,  // only the end matters: deltas are dropped
  };
  // wake is called, from any thread, after take() found nothing and something came; it must not block.
  AnswerInbox(Keep keep, size_t max_bytes, std::function<void()> wake)
      : keep_(keep), max_bytes_(max_bytes), wake_(std::move(wake)) {}

  void on_start(int64_t user_turn) override;
  bool on_delta(const std::string& text) override;
  void on_done(const daemon::ChatResult& result) override;
  void on_error(const Status& status) override;

  struct News {
    std::optional<int64_t> started;  // user_turn, once
    std::string text;                // everything since the last time, joined
    std::optional<daemon::ChatResult> done;
    std::optional<Status> error;
    bool overflow = false;  // the bound was reached; the generation ends
    bool empty() const { return !started && text.empty() && !done && !error && !overflow; }
    bool last() const { return done || error || overflow; }
  };
  // What came since the last time; when nothing did, wake will be called once something does.
  News take();

  // Nobody waits any more: the generation ends with its next piece, and wake is not called again.
  void cancel();
  bool finished() const;

 private:
  // With mutex_ held: after cancel() returns, wake is neither running nor called.
  void notify();

  const Keep keep_;
  const size_t max_bytes_;
  mutable std::mutex mutex_;
  std::function<void()> wake_;
  News news_;
  bool waiting_ = false, cancelled_ = false, overflowed_ = false, finished_ = false;
};

}  // namespace recalld::api
