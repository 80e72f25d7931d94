// One process per data directory.
#pragma once

#include <string>

#include "base/status.h"

namespace recalld::storage {

// Creates the directory and its parents with mode 0700 where missing, durably. kStorageFull when it cannot be made.
Status make_directory(const std::string& directory);

// Makes the directory's entries durable.
Status sync_directory(const std::string& directory);

// Holds an exclusive flock on <directory>/lock, which also names the process. The kernel gives it back when the process
// ends in any way. The lock file itself stays.
class DirectoryLock {
 public:
  // kFailedPrecondition, naming directory and process, when another holds it; kStorageFull when the file cannot be
  // made.
  static Result<DirectoryLock> acquire(const std::string& directory);
  DirectoryLock(DirectoryLock&& other) noexcept;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  ~DirectoryLock();

 private:
  explicit DirectoryLock(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace recalld::storage
