#include "storage/reader_pool.h"

#include <utility>

namespace recalld::storage {

ReaderPool::ReaderPool(Open open, int max_readers)
    : open_(std::move(open)), max_readers_(max_readers > 0 ? max_readers : 1) {}

ReaderPool::Lease::~Lease() {
  if (database_ != nullptr) pool_->give_back(std::move(database_));
}

Result<ReaderPool::Lease> ReaderPool::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !paused_ && lent_ < max_readers_; });
  ++lent_;
  if (!idle_.empty()) {
    std::unique_ptr<Database> database = std::move(idle_.back());
    idle_.pop_back();
    return Lease(this, std::move(database));
  }
  lock.unlock();
  Result<std::unique_ptr<Database>> opened = open_();
  if (!opened.ok()) {
    give_back(nullptr);
    return opened.status();
  }
  return Lease(this, std::move(opened).value());
}

void ReaderPool::give_back(std::unique_ptr<Database> database) {
  {
    std::lock_guard lock(mutex_);
    --lent_;
    if (database != nullptr) idle_.push_back(std::move(database));
  }
  changed_.notify_all();
}

void ReaderPool::pause() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !paused_; });
  paused_ = true;
  changed_.wait(lock, [&] { return lent_ == 0; });
  idle_.clear();
}

void ReaderPool::resume() {
  {
    std::lock_guard lock(mutex_);
    paused_ = false;
  }
  changed_.notify_all();
}

}  // namespace recalld::storage
