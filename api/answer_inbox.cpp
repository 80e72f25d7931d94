#include "api/answer_inbox.h"

#include <utility>

namespace recalld::api {

void AnswerInbox::notify() {
  if (!waiting_ || !wake_) return;
  waiting_ = false;
  wake_();
}

void AnswerInbox::on_start(int64_t user_turn) {
  const std::lock_guard lock(mutex_);
  news_.started = user_turn;
  notify();
}

bool AnswerInbox::on_delta(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (cancelled_ || overflowed_) return false;
  if (keep_ == Keep::kNone) return true;
  if (news_.text.size() + text.size() > max_bytes_) {
    overflowed_ = true;
    news_.overflow = true;
    // The reader may be stuck in a write, not in take().
    waiting_ = true;
    notify();
    return false;
  }
  news_.text += text;
  notify();
  return true;
}

void AnswerInbox::on_done(const daemon::ChatResult& result) {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  if (overflowed_) return;
  news_.done = result;
  notify();
}

void AnswerInbox::on_error(const Status& status) {
  const std::lock_guard lock(mutex_);
  finished_ = true;
  if (overflowed_) return;
  news_.error = status;
  notify();
}

AnswerInbox::News AnswerInbox::take() {
  const std::lock_guard lock(mutex_);
  News news = std::exchange(news_, News{});
  waiting_ = news.empty();
  return news;
}

void AnswerInbox::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  wake_ = nullptr;
}

bool AnswerInbox::finished() const {
  const std::lock_guard lock(mutex_);
  return finished_;
}

}  // namespace recalld::api
