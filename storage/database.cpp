#include "storage/database.h"

#include <sqlite3.h>

#include <utility>

namespace recalld::storage {

namespace {

StatusCode code_of(int extended) {
  switch (extended & 0xff) {
    case SQLITE_FULL:
    case SQLITE_READONLY:
      return StatusCode::kStorageFull;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return StatusCode::kCorrupt;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
      return StatusCode::kUnavailable;
    case SQLITE_CONSTRAINT:
      return StatusCode::kAlreadyExists;
    case SQLITE_TOOBIG:
      return StatusCode::kTooLarge;
    case SQLITE_NOMEM:
      return StatusCode::kResourceExhausted;
    case SQLITE_IOERR:
      break;
    default:
      return StatusCode::kInternal;
  }
  switch (extended) {
    case SQLITE_IOERR_WRITE:
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
    case SQLITE_IOERR_TRUNCATE:
    case SQLITE_IOERR_DELETE:
    case SQLITE_IOERR_SHMOPEN:
    case SQLITE_IOERR_SHMSIZE:
      return StatusCode::kStorageFull;
    default:
      return StatusCode::kUnavailable;
  }
}

std::string_view remedy_of(StatusCode code, bool sync_failed) {
  if (sync_failed) return "; the disk could not be synced: check it, then restart";
  switch (code) {
    case StatusCode::kStorageFull:
      return "; make room on the disk, or make it writable";
    case StatusCode::kCorrupt:
      return "; the file is damaged";
    default:
      return "";
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_), statement_(std::exchange(other.statement_, nullptr)), bind_code_(other.bind_code_) {}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::note(int code) {
  if (code != SQLITE_OK && bind_code_ == SQLITE_OK) bind_code_ = code;
  return *this;
}

Statement& Statement::bind(int index, int64_t value) { return note(sqlite3_bind_int64(statement_, index, value)); }

Statement& Statement::bind(int index, std::string_view text) {
  // A null pointer would be bound as NULL.
  const char* data = text.data() != nullptr ? text.data() : "";
  return note(sqlite3_bind_text64(statement_, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

Statement& Statement::bind(int index, std::span<const std::byte> bytes) {
  if (bytes.empty()) return note(sqlite3_bind_zeroblob(statement_, index, 0));
  return note(sqlite3_bind_blob64(statement_, index, bytes.data(), bytes.size(), SQLITE_STATIC));
}

Statement& Statement::bind(int index, std::optional<int64_t> value) {
  return value ? bind(index, *value) : note(sqlite3_bind_null(statement_, index));
}

Result<bool> Statement::step() {
  if (bind_code_ != SQLITE_OK) return database_->error(bind_code_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->error(code);
}

Status Statement::run() {
  while (true) {
    Result<bool> row = step();
    if (!row.ok()) {
      reset();
      return row.status();
    }
    if (!*row) break;
  }
  reset();
  return ok_status();
}

void Statement::reset() {
  sqlite3_reset(statement_);
  bind_code_ = SQLITE_OK;
}

int64_t Statement::column_int(int column) const { return sqlite3_column_int64(statement_, column); }

std::optional<int64_t> Statement::column_optional_int(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return column_int(column);
}

std::string Statement::column_text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return text != nullptr ? std::string(text, static_cast<size_t>(size)) : std::string();
}

std::span<const std::byte> Statement::column_bytes(int column) const {
  const auto* bytes = static_cast<const std::byte*>(sqlite3_column_blob(statement_, column));
  const int size = sqlite3_column_bytes(statement_, column);
  return {bytes, bytes != nullptr ? static_cast<size_t>(size) : 0};
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, const OpenOptions& options) {
  // Every connection is used by one thread at a time, so SQLite's own mutexes would only cost.
  const int flags = (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, options.vfs.empty() ? nullptr : options.vfs.c_str());
  if (handle == nullptr) return resource_exhausted(path + ": no memory to open the database");
  std::unique_ptr<Database> database(new Database(path, handle));
  if (code != SQLITE_OK) return database->error(code);

  sqlite3_busy_timeout(handle, options.busy_timeout_ms);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
  database->checkpoint_on_close(false);
  // Installing a hook also turns automatic checkpoints off: those hide their errors, a failed sync among them.
  sqlite3_wal_hook(
      handle,
      [](void* self, sqlite3*, const char*, int frames) {
        auto* database = static_cast<Database*>(self);
        database->wal_frames_ = frames;
        ++database->commits_;
        return SQLITE_OK;
      },
      database.get());
  RECALLD_RETURN_IF_ERROR(database->exec("PRAGMA cell_size_check = ON"));
  return database;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Status Database::error(int code) {
  const int last = sqlite3_extended_errcode(handle_);
  // The connection's code is the finer one when it speaks of the same error.
  const int extended = (last & 0xff) == (code & 0xff) ? last : code;
  if (extended == SQLITE_IOERR_FSYNC || extended == SQLITE_IOERR_DIR_FSYNC) sync_failed_ = true;
  std::string text = path_ + ": " + ((last & 0xff) == (code & 0xff) ? sqlite3_errmsg(handle_) : sqlite3_errstr(code)) +
                     " (SQLite " + std::to_string(extended) + ")";
  const StatusCode status_code = code_of(extended);
  text += remedy_of(status_code, sync_failed_);
  return {status_code, std::move(text)};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (code != SQLITE_OK) return error(code);
  return Statement(this, statement);
}

Status Database::exec(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? ok_status() : error(code);
}

Result<int64_t> Database::query_int(const std::string& sql) {
  RECALLD_ASSIGN_OR_RETURN(Statement statement, prepare(sql));
  RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
  if (!row) return internal_error(path_ + ": no row from: " + sql);
  return statement.column_int(0);
}

int64_t Database::last_insert_rowid() const { return sqlite3_last_insert_rowid(handle_); }

int64_t Database::changes() const { return sqlite3_changes64(handle_); }

Status Database::read_blob(const char* table, const char* column, int64_t rowid, std::span<std::byte> out) {
  sqlite3_blob* opened = nullptr;
  const int code = sqlite3_blob_open(handle_, "main", table, column, rowid, 0, &opened);
  const std::unique_ptr<sqlite3_blob, int (*)(sqlite3_blob*)> blob(opened, sqlite3_blob_close);
  if (code == SQLITE_ERROR) return corrupt(path_ + ": no row " + std::to_string(rowid) + " in " + table);
  if (code != SQLITE_OK) return error(code);
  const int size = sqlite3_blob_bytes(opened);
  if (static_cast<size_t>(size) != out.size()) {
    return corrupt(path_ + ": row " + std::to_string(rowid) + " of " + table + " has " + std::to_string(size) +
                   " bytes instead of " + std::to_string(out.size()));
  }
  const int read = sqlite3_blob_read(opened, out.data(), size, 0);
  return read == SQLITE_OK ? ok_status() : error(read);
}

Status Database::checkpoint_passive() {
  int frames = 0;
  int moved = 0;
  const int code = sqlite3_wal_checkpoint_v2(handle_, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
  if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) return error(code);
  // Frames that a reader still holds back stay counted, so that the next commit tries again.
  wal_frames_ = frames - moved;
  return ok_status();
}

Status Database::checkpoint_truncate() {
  const int code = sqlite3_wal_checkpoint_v2(handle_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  wal_frames_ = 0;
  return ok_status();
}

void Database::checkpoint_on_close(bool on) {
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on ? 0 : 1, nullptr);
}

Result<Transaction> Transaction::begin(Database& database, Mode mode) {
  RECALLD_RETURN_IF_ERROR(database.exec(mode == Mode::kWrite ? "BEGIN IMMEDIATE" : "BEGIN"));
  return Transaction(&database);
}

Transaction::~Transaction() {
  if (database_ == nullptr || sqlite3_get_autocommit(database_->handle()) != 0) return;
  // Nothing can be done about a rollback that fails; SQLite discards the transaction with the connection.
  sqlite3_exec(database_->handle(), "ROLLBACK", nullptr, nullptr, nullptr);
}

Status Transaction::commit() { return database_->exec("COMMIT"); }

}  // namespace recalld::storage
