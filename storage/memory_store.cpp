#include "storage/memory_store.h"

#include <mutex>
#include <utility>

#include "storage/copy.h"
#include "storage/integrity.h"
#include "storage/settings.h"
#include "storage/store_file.h"

namespace recalld::storage {

namespace {

// Above this, VACUUM keeps its copy in a temporary file instead of memory.
constexpr int64_t kVacuumInMemory = int64_t{64} << 20;

constexpr std::string_view kSessionColumns =
    "SELECT id, principal, title, style, created_ms, updated_ms,"
    " (SELECT coalesce(max(idx) + 1, 0) FROM turns WHERE session = sessions.id) FROM sessions ";

Status no_session(std::string_view id) { return not_found("there is no session " + std::string(id)); }

SessionRow session_of(const Statement& row) {
  return {row.column_text(0), row.column_text(1), row.column_text(2), row.column_text(3),
          row.column_int(4),  row.column_int(5),  row.column_int(6)};
}

Result<bool> session_exists(Database& database, std::string_view id) {
  RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare("SELECT 1 FROM sessions WHERE id = ?"));
  return statement.bind(1, id).step();
}

// The index of the next turn. kNotFound without the session.
Result<int64_t> next_index(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(const bool exists, session_exists(database, session));
  if (!exists) return no_session(session);
  RECALLD_ASSIGN_OR_RETURN(Statement statement,
                           database.prepare("SELECT coalesce(max(idx) + 1, 0) FROM turns WHERE session = ?"));
  RECALLD_RETURN_IF_ERROR(statement.bind(1, session).step().status());
  return statement.column_int(0);
}

Result<int64_t> insert_turns(Database& database, std::string_view session, const std::vector<TurnRow>& rows,
                             int64_t now_ms) {
  RECALLD_ASSIGN_OR_RETURN(const int64_t first, next_index(database, session));
  RECALLD_ASSIGN_OR_RETURN(Statement insert,
                           database.prepare("INSERT INTO turns(session, idx, role, speaker, text, time_ms, created_ms)"
                                            " VALUES(?, ?, ?, ?, ?, ?, ?)"));
  int64_t index = first;
  for (const TurnRow& row : rows) {
    insert.bind(1, session).bind(2, index++).bind(3, std::string_view(row.role));
    insert.bind(4, std::string_view(row.speaker)).bind(5, std::string_view(row.text));
    RECALLD_RETURN_IF_ERROR(insert.bind(6, row.time_ms).bind(7, now_ms).run());
  }
  RECALLD_ASSIGN_OR_RETURN(Statement touch, database.prepare("UPDATE sessions SET updated_ms = ? WHERE id = ?"));
  RECALLD_RETURN_IF_ERROR(touch.bind(1, now_ms).bind(2, session).run());
  return first;
}

// SQLite zeroes what is deleted, but not the stale copies it leaves when it moves rows between pages of a tree: only a
// rewrite of the file is free of them.
Status scrub(Database& database, int64_t file_bytes) {
  RECALLD_ASSIGN_OR_RETURN(const std::optional<std::string> due, get_setting(database, kScrubKey));
  if (!due) return ok_status();
  RECALLD_RETURN_IF_ERROR(
      database.exec(file_bytes > kVacuumInMemory ? "PRAGMA temp_store = FILE" : "PRAGMA temp_store = MEMORY"));
  RECALLD_RETURN_IF_ERROR(database.exec("VACUUM"));
  RECALLD_RETURN_IF_ERROR(database.checkpoint_truncate());
  return erase_setting(database, kScrubKey);
}

Status delete_rows(Database& database, std::string_view id) {
  for (const char* sql : {"DELETE FROM imports WHERE session = ?", "DELETE FROM turns WHERE session = ?",
                          "DELETE FROM sessions WHERE id = ?"}) {
    RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare(sql));
    RECALLD_RETURN_IF_ERROR(statement.bind(1, id).run());
  }
  return storage::put_setting(database, kScrubKey, "1");
}

}  // namespace

struct MemoryStore::Impl {
  std::unique_ptr<StoreFile> file;
  const Clock& clock;
  // Long reads hold the WAL back, and a removal must empty it: one at a time.
  std::mutex maintenance;
};

MemoryStore::MemoryStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MemoryStore::~MemoryStore() = default;

Result<std::unique_ptr<MemoryStore>> MemoryStore::open(const std::string& directory, const Clock& clock,
                                                       const StoreOptions& options, Writer& writer,
                                                       std::vector<std::string>& notes) {
  FileSpec spec;
  spec.path = directory + "/memory.db";
  spec.schema = kMemorySchema;
  spec.lane = Writer::Lane::kMemory;
  spec.copy_before_upgrade = true;
  Result<std::unique_ptr<StoreFile>> file = StoreFile::open(std::move(spec), options, writer, notes);
  if (!file.ok()) {
    const Status status = file.status();
    if (status.code() != StatusCode::kCorrupt) return status;
    return corrupt(status.message() + "; it was left as it is: restore it from a backup (docs/storage.md)");
  }
  return std::unique_ptr<MemoryStore>(
      new MemoryStore(std::unique_ptr<Impl>(new Impl{std::move(file).value(), clock, {}})));
}

Result<SessionRow> MemoryStore::create_session(SessionRow row) {
  if (row.id.empty()) return invalid_argument("a session needs an id");
  if (row.principal.empty()) return invalid_argument("session " + row.id + " needs a principal");
  return impl_->file->write_value<SessionRow>(0, [&](Database& database) -> Result<SessionRow> {
    RECALLD_ASSIGN_OR_RETURN(const bool exists, session_exists(database, row.id));
    if (exists) return already_exists("session " + row.id + " exists already");
    row.created_ms = row.updated_ms = impl_->clock.now_ms();
    row.turns = 0;
    RECALLD_ASSIGN_OR_RETURN(
        Statement insert, database.prepare("INSERT INTO sessions(id, principal, title, style, created_ms, updated_ms)"
                                           " VALUES(?, ?, ?, ?, ?, ?)"));
    insert.bind(1, std::string_view(row.id)).bind(2, std::string_view(row.principal));
    insert.bind(3, std::string_view(row.title)).bind(4, std::string_view(row.style));
    RECALLD_RETURN_IF_ERROR(insert.bind(5, row.created_ms).bind(6, row.updated_ms).run());
    return row;
  });
}

Result<SessionRow> MemoryStore::session(std::string_view principal, std::string_view id) {
  return impl_->file->read_value<SessionRow>([&](Database& database) -> Result<SessionRow> {
    RECALLD_ASSIGN_OR_RETURN(Statement statement,
                             database.prepare(std::string(kSessionColumns) + "WHERE id = ? AND principal = ?"));
    RECALLD_ASSIGN_OR_RETURN(const bool row, statement.bind(1, id).bind(2, principal).step());
    if (!row) return no_session(id);
    return session_of(statement);
  });
}

namespace {

Result<std::vector<SessionRow>> collect_sessions(Statement statement) {
  std::vector<SessionRow> rows;
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
    if (!row) return rows;
    rows.push_back(session_of(statement));
  }
}

}  // namespace

Result<std::vector<SessionRow>> MemoryStore::sessions(std::string_view principal) {
  return impl_->file->read_value<std::vector<SessionRow>>([&](Database& database) -> Result<std::vector<SessionRow>> {
    RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare(std::string(kSessionColumns) +
                                                                   "WHERE principal = ? ORDER BY updated_ms DESC, id"));
    statement.bind(1, principal);
    return collect_sessions(std::move(statement));
  });
}

Result<std::vector<SessionRow>> MemoryStore::all_sessions() {
  return impl_->file->read_value<std::vector<SessionRow>>([&](Database& database) -> Result<std::vector<SessionRow>> {
    RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare(std::string(kSessionColumns) + "ORDER BY id"));
    return collect_sessions(std::move(statement));
  });
}

Result<std::vector<std::string>> MemoryStore::session_ids() {
  return impl_->file->read_value<std::vector<std::string>>([&](Database& database) -> Result<std::vector<std::string>> {
    RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare("SELECT id FROM sessions ORDER BY id"));
    std::vector<std::string> ids;
    while (true) {
      RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
      if (!row) return ids;
      ids.push_back(statement.column_text(0));
    }
  });
}

Status MemoryStore::remove_session(std::string_view id) {
  const std::lock_guard alone(impl_->maintenance);
  const Status deleted = impl_->file->write(0, [&](Database& database) -> Status {
    RECALLD_ASSIGN_OR_RETURN(const bool exists, session_exists(database, id));
    return exists ? delete_rows(database, id) : no_session(id);
  });
  if (!deleted.ok() && deleted.code() != StatusCode::kNotFound) return deleted;
  const Status scrubbed = finish_removals();
  if (!deleted.ok() || scrubbed.ok()) return deleted;
  return scrubbed.with_context("session " + std::string(id) +
                               " is deleted, but its bytes are not overwritten yet (tried again at the next deletion"
                               " and the next start)");
}

Status MemoryStore::finish_removals() {
  return impl_->file->maintain([&](Database& database) { return scrub(database, file_bytes()); });
}

Result<int64_t> MemoryStore::append_turns(std::string_view session, std::vector<TurnRow> rows) {
  if (rows.empty()) return invalid_argument("there are no turns to append");
  return impl_->file->write_value<int64_t>(
      0, [&](Database& database) { return insert_turns(database, session, rows, impl_->clock.now_ms()); });
}

Result<ImportOutcome> MemoryStore::import_turns(std::string_view session, std::string_view digest,
                                                std::vector<TurnRow> rows) {
  if (rows.empty()) return invalid_argument("there are no turns to import");
  return impl_->file->write_value<ImportOutcome>(0, [&](Database& database) -> Result<ImportOutcome> {
    RECALLD_ASSIGN_OR_RETURN(
        Statement known, database.prepare("SELECT first_turn, turns FROM imports WHERE session = ? AND digest = ?"));
    RECALLD_ASSIGN_OR_RETURN(const bool duplicate, known.bind(1, session).bind(2, digest).step());
    if (duplicate) return ImportOutcome{known.column_int(0), known.column_int(1), true};
    RECALLD_ASSIGN_OR_RETURN(const int64_t first, insert_turns(database, session, rows, impl_->clock.now_ms()));
    RECALLD_ASSIGN_OR_RETURN(
        Statement remember,
        database.prepare("INSERT INTO imports(session, digest, first_turn, turns) VALUES(?, ?, ?, ?)"));
    const auto turns = static_cast<int64_t>(rows.size());
    RECALLD_RETURN_IF_ERROR(remember.bind(1, session).bind(2, digest).bind(3, first).bind(4, turns).run());
    return ImportOutcome{first, turns, false};
  });
}

Result<std::vector<TurnRow>> MemoryStore::turns(std::string_view session, int64_t first, int64_t limit) {
  return impl_->file->read_value<std::vector<TurnRow>>([&](Database& database) -> Result<std::vector<TurnRow>> {
    RECALLD_ASSIGN_OR_RETURN(const bool exists, session_exists(database, session));
    if (!exists) return no_session(session);
    RECALLD_ASSIGN_OR_RETURN(Statement statement,
                             database.prepare("SELECT idx, role, speaker, text, time_ms, created_ms FROM turns"
                                              " WHERE session = ? AND idx >= ? ORDER BY idx LIMIT ?"));
    statement.bind(1, session).bind(2, first).bind(3, limit);
    std::vector<TurnRow> rows;
    while (true) {
      RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
      if (!row) return rows;
      rows.push_back({statement.column_int(0), statement.column_text(1), statement.column_text(2),
                      statement.column_text(3), statement.column_optional_int(4), statement.column_int(5)});
    }
  });
}

Result<int64_t> MemoryStore::turn_count(std::string_view session) {
  return impl_->file->read_value<int64_t>([&](Database& database) { return next_index(database, session); });
}

Status MemoryStore::put_setting(std::string_view key, std::string_view value) {
  return impl_->file->write(0, [&](Database& database) { return storage::put_setting(database, key, value); });
}

Result<std::optional<std::string>> MemoryStore::setting(std::string_view key) {
  return impl_->file->read_value<std::optional<std::string>>(
      [&](Database& database) { return get_setting(database, key); });
}

Status MemoryStore::backup_to(const std::string& path) {
  const std::lock_guard alone(impl_->maintenance);
  return impl_->file->read([&](Database& database) -> Status {
    // Fixes the moment the copy is of.
    RECALLD_RETURN_IF_ERROR(database.query_int("SELECT count(*) FROM sqlite_schema").status());
    return copy_database(database, path, impl_->file->vfs());
  });
}

Result<std::vector<std::string>> MemoryStore::check() {
  const std::lock_guard alone(impl_->maintenance);
  return impl_->file->read_value<std::vector<std::string>>(
      [&](Database& database) { return integrity_problems(database); });
}

Status MemoryStore::write_state() const { return impl_->file->write_state(); }

Status MemoryStore::set_max_bytes(int64_t max_bytes) { return impl_->file->set_max_bytes(max_bytes); }

int64_t MemoryStore::file_bytes() const { return impl_->file->file_bytes(); }

Result<bool> MemoryStore::exists(std::string_view session) {
  return session_exists(impl_->file->writer_database(), session);
}

Status MemoryStore::probe() { return impl_->file->write(0, write_probe); }

}  // namespace recalld::storage
