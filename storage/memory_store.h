// memory.db, the truth: sessions and their transcripts. See docs/storage.md for the file.
//
// Every function that changes something returns after its transaction is committed and fsynced (WAL,
// synchronous=FULL): what returned ok survives kill -9 and power loss, what returned an error left nothing behind.
// Changes run on the one writer thread of Stores, in the order they were asked for; reads run on the caller's thread on
// a connection of their own and see every change that returned before. All functions are safe from any thread.
//
// Errors, besides those named at each function: kStorageFull when the disk is full or read-only (reads still work),
// kCorrupt when the file is damaged, kUnavailable when the file is locked for longer than the busy timeout, after a
// failed fsync (until the stores are reopened), or while the stores close.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "storage/options.h"
#include "storage/rows.h"

namespace recalld::storage {

class Writer;

class MemoryStore {
 public:
  ~MemoryStore();
  MemoryStore(const MemoryStore&) = delete;
  MemoryStore& operator=(const MemoryStore&) = delete;

  // Uses id, principal, title and style of the row; returns it with its times. kAlreadyExists when the id is taken
  // (by whomever); kInvalidArgument for an empty id or principal.
  Result<SessionRow> create_session(SessionRow row);

  // kNotFound also when the session belongs to another principal.
  Result<SessionRow> session(std::string_view principal, std::string_view id);

  // All sessions of a principal, most recently updated first.
  Result<std::vector<SessionRow>> sessions(std::string_view principal);

  // All sessions of all principals, by id.
  Result<std::vector<SessionRow>> all_sessions();

  // The ids of all sessions of all principals, sorted.
  Result<std::vector<std::string>> session_ids();

  // Deletes the session, its turns and its imports, and every byte of them from memory.db and its WAL. kNotFound when
  // there is none. Cost: O(size of memory.db) (figures in docs/storage.md). Use Stores::remove_session to delete the
  // session's KV as well.
  Status remove_session(std::string_view id);

  // Appends all rows or none; returns the index of the first. Index and created_ms of the rows are set by the store.
  // kNotFound when there is no such session; kInvalidArgument for no rows.
  Result<int64_t> append_turns(std::string_view session, std::vector<TurnRow> rows);

  // append_turns for a whole file. In the same transaction `digest` is remembered for the session: the same digest
  // again adds nothing and returns the first outcome with duplicate = true.
  Result<ImportOutcome> import_turns(std::string_view session, std::string_view digest, std::vector<TurnRow> rows);

  // Turns [first, first + limit) that exist, in order; limit < 0 means all. kNotFound when there is no such session.
  Result<std::vector<TurnRow>> turns(std::string_view session, int64_t first, int64_t limit);

  // kNotFound when there is no such session.
  Result<int64_t> turn_count(std::string_view session);

  // Small named values that must survive a restart; none when never put.
  Status put_setting(std::string_view key, std::string_view value);
  Result<std::optional<std::string>> setting(std::string_view key);

  // A consistent copy of memory.db as of some moment during the call, in a new file of mode 0600; verified
  // (integrity_check) and fsynced before the call returns. Writers are not held up. kAlreadyExists when `path` exists;
  // on any other error no file is left at `path`.
  Status backup_to(const std::string& path);

  // Integrity of the file (integrity_check and foreign keys); empty when all is well. Reads the whole file.
  Result<std::vector<std::string>> check();

  // ok, or why the last write failed. Goes back to ok when a write succeeds, except after a failed fsync.
  Status write_state() const;

  // Bounds the size of the file, in bytes; a write that needs more fails with kStorageFull. 0 = no bound.
  Status set_max_bytes(int64_t max_bytes);

  // Bytes of the database file and its WAL.
  int64_t file_bytes() const;

 private:
  friend class Stores;
  struct Impl;

  // Opens <directory>/memory.db, making or upgrading it. Adds to notes.
  static Result<std::unique_ptr<MemoryStore>> open(const std::string& directory, const Clock& clock,
                                                   const StoreOptions& options, Writer& writer,
                                                   std::vector<std::string>& notes);
  // On the writer thread only.
  Result<bool> exists(std::string_view session);
  // Finishes what a removal cut short has left to do.
  Status finish_removals();
  Status probe();

  explicit MemoryStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::storage
