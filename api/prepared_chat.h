// A chat request that was understood and handed to the Service.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>

#include "api/answer_inbox.h"
#include "api/chat_request.h"
#include "api/shapes.h"
#include "api/transport.h"

namespace recalld::api {

struct PreparedChat {
  std::optional<HttpError> error;  // then the rest is empty
  AnswerHead head;
  bool stream = false;
  bool include_usage = false;
  std::shared_ptr<AnswerInbox> inbox;
  std::shared_ptr<Signal> signal;
};

// A place among the running and waiting chats.
class ChatPlace {
 public:
  ChatPlace(std::atomic<int64_t>& chats, int64_t most) : chats_(chats), taken_(chats.fetch_add(1) < most) {}
  ~ChatPlace() { chats_.fetch_sub(1); }
  ChatPlace(const ChatPlace&) = delete;
  ChatPlace& operator=(const ChatPlace&) = delete;
  bool taken() const { return taken_; }

 private:
  std::atomic<int64_t>& chats_;
  bool taken_;
};

// Ends the generation when the coroutine that waits for it ends, however it ends.
class InboxGuard {
 public:
  explicit InboxGuard(std::shared_ptr<AnswerInbox> inbox) : inbox_(std::move(inbox)) {}
  ~InboxGuard() {
    if (inbox_) inbox_->cancel();
  }
  InboxGuard(const InboxGuard&) = delete;
  InboxGuard& operator=(const InboxGuard&) = delete;

 private:
  std::shared_ptr<AnswerInbox> inbox_;
};

// What wakes the coroutine that waits on the signal, from any thread.
std::function<void()> waker(const net::any_io_executor& executor, const std::shared_ptr<Signal>& signal);

}  // namespace recalld::api
