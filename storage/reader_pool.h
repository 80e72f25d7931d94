// Connections for reading, lent to one caller at a time and kept open between.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

class ReaderPool {
 public:
  using Open = std::function<Result<std::unique_ptr<Database>>()>;

  // At most max_readers connections at once, each made by `open` when needed.
  ReaderPool(Open open, int max_readers);

  // A connection on loan; goes back when destroyed. Must not outlive the pool.
  class Lease {
   public:
    Lease(Lease&&) noexcept = default;
    ~Lease();
    Database& database() { return *database_; }

   private:
    friend class ReaderPool;
    Lease(ReaderPool* pool, std::unique_ptr<Database> database) : pool_(pool), database_(std::move(database)) {}
    ReaderPool* pool_;
    std::unique_ptr<Database> database_;
  };

  // Waits while all connections are lent.
  Result<Lease> acquire();

  // Waits until every connection is back, closes all, and lets none out until resume().
  void pause();
  void resume();

 private:
  void give_back(std::unique_ptr<Database> database);

  const Open open_;
  const int max_readers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Database>> idle_;
  int lent_ = 0;
  bool paused_ = false;
};

}  // namespace recalld::storage
