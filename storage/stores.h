// Both stores of a data directory, opened together under its lock, with their one writer thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "storage/kv_store.h"
#include "storage/memory_store.h"
#include "storage/options.h"

namespace recalld::storage {

class Stores {
 public:
  // Creates the directory (0700) and the files (0600) when missing, locks the directory, migrates, and removes KV of
  // sessions that memory.db does not have and bytes that a deletion cut short has left. clock is read from the writer
  // thread only and outlives the stores. Errors:
  //   kFailedPrecondition  another process has the directory open (names it), or a file has a newer schema
  //   kCorrupt             memory.db is damaged or not ours; it is left untouched
  //   kStorageFull         the directory or a file cannot be written
  // A damaged kv.db is no error: it is set aside as kv.db.corrupt-N, a new one is made, and notes() says so.
  static Result<std::unique_ptr<Stores>> open(const std::string& directory, const Clock& clock,
                                              const StoreOptions& options = {});

  // Finishes the writes that wait, closes both files and gives the lock back.
  ~Stores();
  Stores(const Stores&) = delete;
  Stores& operator=(const Stores&) = delete;

  MemoryStore& memory();
  KvStore& kv();

  // Deletes a session from both files, every byte of it; also the copies of kv.db that were set aside, as they may hold
  // some. Copies of memory.db (backups, and those kept before an upgrade) are the operator's and stay. kNotFound when
  // memory.db has none (leftovers in kv.db are removed all the same). When memory.db succeeded and kv.db did not, the
  // error says so: the session is gone for every reader, and the rest is removed by the next call or the next open.
  Status remove_session(std::string_view session);

  // ok, or why writing fails: memory.db's reason before kv.db's.
  Status write_state() const;

  // Tries a small write to each file, so that write_state() notices that room has returned.
  Status probe();

  // What open did that a person should know (migrations, files set aside), one sentence each.
  const std::vector<std::string>& notes() const;

  const std::string& directory() const;

 private:
  struct Impl;
  explicit Stores(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::storage
