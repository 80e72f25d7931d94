// An SQLite VFS that fails on demand, and that can cut the power: from some operation on everything fails, and what was
// not synced by then is lost.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <vector>

namespace recalld::storage {

class FaultVfs {
 public:
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const std::string& name() const { return name_; }

  // Every write to a file whose name ends with `suffix` fails with this SQLite code; SQLITE_OK ends it.
  void fail_writes(int code, const std::string& suffix = "");
  // Every sync fails.
  void fail_syncs(bool fail);

  // Writes, truncations and syncs so far.
  int64_t operations() const;
  // Operation `operation` (counted from 1) and all later ones fail.
  void cut_at(int64_t operation);
  // With all files closed, takes back what was written after the last sync of each file; with `random`, a prefix of it
  // that random chooses stays, its last write torn.
  void lose_unsynced(std::mt19937* random);

  // --- for the file shim -----------------------------------------------
  struct Undo {
    int64_t offset = 0;
    std::string before;       // what was there
    std::string after;        // what was written; empty for a truncation
    int64_t size_before = 0;  // of the file
    int64_t size_after = 0;
  };
  // SQLITE_OK, or the code to fail with.
  int admit_write(const std::string& path);
  int admit_sync(const std::string& path);
  void note(const std::string& path, Undo undo);
  sqlite3_vfs* base() { return base_; }

 private:
  bool cut() const { return cut_at_ > 0 && operations_ >= cut_at_; }

  sqlite3_vfs* base_;
  sqlite3_vfs vfs_{};
  std::string name_;
  mutable std::mutex mutex_;
  int write_code_ = SQLITE_OK;
  std::string write_suffix_;
  bool fail_syncs_ = false;
  int64_t operations_ = 0;
  int64_t cut_at_ = 0;
  std::map<std::string, std::vector<Undo>> unsynced_;
};

}  // namespace recalld::storage
