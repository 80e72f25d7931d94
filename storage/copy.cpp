#include "storage/copy.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "storage/directory_lock.h"
#include "storage/integrity.h"

namespace recalld::storage {

namespace {

Status create_new(const std::string& path, const std::string& remedy) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor >= 0) {
    ::close(descriptor);
    return ok_status();
  }
  if (errno == EEXIST) return already_exists(path + " exists already; " + remedy);
  if (errno == ENOENT || errno == ENOTDIR) return invalid_argument(path + ": its folder does not exist");
  return storage_full(path + ": cannot be created: " + std::strerror(errno));
}

Status copy_pages(Database& source, Database& copy) {
  sqlite3_backup* backup = sqlite3_backup_init(copy.handle(), "main", source.handle(), "main");
  if (backup == nullptr) return copy.error(sqlite3_extended_errcode(copy.handle()));
  const int step = sqlite3_backup_step(backup, -1);
  const int finish = sqlite3_backup_finish(backup);
  if (step == SQLITE_DONE && finish == SQLITE_OK) return ok_status();
  return copy.error(finish != SQLITE_OK ? finish : step);
}

Status verify_copy(Database& copy) {
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::string> problems, integrity_problems(copy));
  return problems.empty() ? ok_status() : corrupt("the copy is damaged: " + problems.front());
}

Status write_copy(Database& source, const std::string& path, const std::string& vfs) {
  OpenOptions options;
  options.vfs = vfs;
  RECALLD_ASSIGN_OR_RETURN(const std::unique_ptr<Database> copy, Database::open(path, options));
  RECALLD_RETURN_IF_ERROR(copy->exec("PRAGMA synchronous = FULL"));
  RECALLD_RETURN_IF_ERROR(copy_pages(source, *copy));
  RECALLD_RETURN_IF_ERROR(copy->exec("PRAGMA journal_mode = DELETE"));
  return verify_copy(*copy);
}

}  // namespace

Status copy_database(Database& source, const std::string& path, const std::string& vfs) {
  std::error_code failed;
  if (std::filesystem::exists(std::filesystem::symlink_status(path, failed))) {
    return already_exists(path + " exists already; choose another name");
  }
  const std::string part = path + ".part";
  RECALLD_RETURN_IF_ERROR(create_new(part, "a copy is being made or was cut short: remove it if none is running"));
  Status done = write_copy(source, part, vfs);
  if (done.ok() && ::renameat2(AT_FDCWD, part.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) != 0) {
    done = errno == EEXIST ? already_exists(path + " exists already; choose another name")
                           : storage_full(path + ": cannot be renamed from " + part + ": " + std::strerror(errno));
  }
  if (!done.ok()) {
    std::filesystem::remove(part, failed);
    for (const char* suffix : {"-wal", "-shm", "-journal"}) std::filesystem::remove(part + suffix, failed);
    return done;
  }
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  return sync_directory(parent.empty() ? "." : parent.string());
}

}  // namespace recalld::storage
