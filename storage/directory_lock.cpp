#include "storage/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace recalld::storage {

namespace {

std::string reason(int error) { return std::strerror(error); }

std::string holder_of(int descriptor) {
  char text[32] = {};
  const ssize_t size = ::pread(descriptor, text, sizeof(text) - 1, 0);
  std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (!pid.empty() && (pid.back() < '0' || pid.back() > '9')) pid.pop_back();
  return pid.empty() ? "another process" : "process " + pid;
}

}  // namespace

Status sync_directory(const std::string& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return storage_full(directory + ": cannot be opened: " + reason(errno));
  const int failed = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  return failed == 0 ? ok_status() : storage_full(directory + ": cannot be synced: " + reason(error));
}

Status make_directory(const std::string& directory) {
  std::error_code failed;
  if (std::filesystem::is_directory(directory, failed)) return ok_status();
  const std::filesystem::path path(directory);
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  if (parent != path) RECALLD_RETURN_IF_ERROR(make_directory(parent.string()));
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return storage_full(directory + ": cannot be created: " + reason(errno) +
                        "; choose a data directory that can be written");
  }
  if (!std::filesystem::is_directory(directory, failed)) {
    return storage_full(directory + ": is not a directory; choose another data directory");
  }
  return sync_directory(parent.string());
}

Result<DirectoryLock> DirectoryLock::acquire(const std::string& directory) {
  const std::string path = directory + "/lock";
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) {
    return storage_full(path + ": cannot be opened for writing: " + reason(errno) +
                        "; the data directory must be writable");
  }
  DirectoryLock lock(descriptor);
  if (::flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return unavailable(path + ": cannot be locked: " + reason(errno));
    return failed_precondition("the data directory " + directory + " is in use by " + holder_of(descriptor) +
                               "; stop it or choose another data directory");
  }
  // The number is for people; a full disk that has no room for it does not matter.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(descriptor, 0) == 0 && ::pwrite(descriptor, pid.data(), pid.size(), 0) < 0) errno = 0;
  return lock;
}

DirectoryLock::DirectoryLock(DirectoryLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

DirectoryLock::~DirectoryLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace recalld::storage
