// A thin layer over SQLite: connections, prepared statements, transactions, and SQLite's errors as Status.
//
// A Database and what is made from it belong to one thread at a time.
//
// Error mapping (every message starts with the file's name):
//   SQLITE_FULL, READONLY, failed writes, truncations and syncs  kStorageFull
//   SQLITE_CORRUPT, NOTADB                                       kCorrupt
//   SQLITE_BUSY, LOCKED, failed reads, CANTOPEN                  kUnavailable
//   SQLITE_CONSTRAINT                                            kAlreadyExists
//   SQLITE_TOOBIG                                                kTooLarge
//   SQLITE_NOMEM                                                 kResourceExhausted
//   anything else                                                kInternal
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

struct sqlite3;
struct sqlite3_stmt;

namespace recalld::storage {

class Database;

// One prepared statement. Parameters count from 1, columns from 0. Text and bytes that are bound must live until the
// statement is reset or destroyed; what columns return is valid until the next step or reset.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  // Errors of binding come out of step().
  Statement& bind(int index, int64_t value);
  Statement& bind(int index, std::string_view text);
  Statement& bind(int index, std::span<const std::byte> bytes);
  Statement& bind(int index, std::optional<int64_t> value);

  // True: a row is there. False: done.
  Result<bool> step();
  // Steps to the end, ignoring rows, and resets.
  Status run();
  // Ready for new parameters.
  void reset();

  int64_t column_int(int column) const;
  std::optional<int64_t> column_optional_int(int column) const;
  std::string column_text(int column) const;
  std::span<const std::byte> column_bytes(int column) const;

 private:
  friend class Database;
  Statement(Database* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  Statement& note(int code);

  Database* database_;
  sqlite3_stmt* statement_;
  int bind_code_ = 0;
};

struct OpenOptions {
  bool read_only = false;
  int32_t busy_timeout_ms = 5000;
  std::string vfs;  // empty = the default one
};

class Database {
 public:
  // Opens an existing file; an empty one is an empty database. Nothing is written, and closing writes nothing before
  // checkpoint_on_close(true). Foreign keys on, schema not trusted, defensive, no automatic checkpoints.
  static Result<std::unique_ptr<Database>> open(const std::string& path, const OpenOptions& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const std::string& path() const { return path_; }
  sqlite3* handle() { return handle_; }

  Result<Statement> prepare(std::string_view sql);
  // Runs one or several statements without parameters.
  Status exec(const std::string& sql);
  // The first column of the first row; kInternal when there is no row.
  Result<int64_t> query_int(const std::string& sql);

  int64_t last_insert_rowid() const;
  // Rows changed by the statement before.
  int64_t changes() const;

  // Reads a whole blob; out must have its size. kCorrupt when the row is missing or the size differs.
  Status read_blob(const char* table, const char* column, int64_t rowid, std::span<std::byte> out);

  // Frames in the WAL after this connection's last commit.
  int wal_frames() const { return wal_frames_; }
  // Commits of this connection that wrote something.
  int64_t commits() const { return commits_; }
  // Moves what it can of the WAL into the database file, without waiting for readers.
  Status checkpoint_passive();
  // Moves all of the WAL and truncates it to nothing; waits for readers up to the busy timeout (kUnavailable).
  Status checkpoint_truncate();
  void checkpoint_on_close(bool on);

  // True once a sync has failed: the kernel may have dropped what it could not write, so nothing more should be
  // written.
  bool sync_failed() const { return sync_failed_; }

  // What `code`, returned by SQLite for this connection, means.
  Status error(int code);

 private:
  Database(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}

  const std::string path_;
  sqlite3* handle_;
  int wal_frames_ = 0;
  int64_t commits_ = 0;
  bool sync_failed_ = false;
};

// A transaction: rolled back when destroyed before commit() returned ok.
class Transaction {
 public:
  enum class Mode { kRead, kWrite };  // kWrite is BEGIN IMMEDIATE

  static Result<Transaction> begin(Database& database, Mode mode);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  Status commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

}  // namespace recalld::storage
