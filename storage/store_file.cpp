#include "storage/store_file.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>

#include "storage/copy.h"
#include "storage/directory_lock.h"

namespace recalld::storage {

namespace fs = std::filesystem;

namespace {

int64_t size_of(const std::string& path) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  return failed ? 0 : static_cast<int64_t>(size);
}

std::string folder_of(const std::string& path) {
  const fs::path parent = fs::path(path).parent_path();
  return parent.empty() ? "." : parent.string();
}

// A first free name: prefix, prefix-2, prefix-3, ...
std::string free_name(const std::string& prefix) {
  std::string name = prefix;
  for (int n = 2; fs::exists(name); ++n) name = prefix + "-" + std::to_string(n);
  return name;
}

// SQLite takes an empty database for a new one and deletes its WAL, which may hold all there is.
Status check_not_emptied(const std::string& path) {
  if (size_of(path) > 0 || size_of(path + "-wal") == 0) return ok_status();
  return corrupt(path + ": is missing or empty, but " + path + "-wal holds data; restore " + path +
                 " from a backup, or move both away to start anew");
}

Status create_if_missing(const std::string& path) {
  std::error_code failed;
  if (fs::exists(path, failed)) {
    if (fs::is_regular_file(path, failed)) return ok_status();
    return corrupt(path + ": is not a regular file; move it away");
  }
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return storage_full(path + ": cannot be created: " + std::strerror(errno));
  ::close(descriptor);
  return sync_directory(folder_of(path));
}

// The log first: without it the database is a database still.
Status remove_database(const std::string& path) {
  for (const char* suffix : {"-wal", "-shm", ""}) {
    std::error_code failed;
    fs::remove(path + suffix, failed);
    if (failed) return storage_full(path + suffix + ": cannot be removed: " + failed.message());
  }
  return ok_status();
}

Status turn_wal_on(Database& database) {
  RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare("PRAGMA journal_mode = WAL"));
  RECALLD_ASSIGN_OR_RETURN(const bool row, statement.step());
  if (row && statement.column_text(0) == "wal") return ok_status();
  return failed_precondition(database.path() + ": its file system cannot hold a write-ahead log; use a local disk");
}

}  // namespace

StoreFile::StoreFile(FileSpec spec, StoreOptions options, Writer& writer)
    : spec_(std::move(spec)),
      options_(std::move(options)),
      writer_(writer),
      readers_([this] { return open_reader(); }, options_.max_readers) {}

StoreFile::~StoreFile() = default;

Result<std::unique_ptr<StoreFile>> StoreFile::open(FileSpec spec, const StoreOptions& options, Writer& writer,
                                                   std::vector<std::string>& notes) {
  std::unique_ptr<StoreFile> file(new StoreFile(std::move(spec), options, writer));
  RECALLD_ASSIGN_OR_RETURN(file->database_, file->open_writer(notes));
  if (sqlite3_db_readonly(file->database_->handle(), "main") == 1) {
    file->state_ = storage_full(file->path() + ": the file is read-only; make it writable and restart");
    notes.push_back(file->state_.message());
  }
  return file;
}

Result<std::unique_ptr<Database>> StoreFile::open_writer(std::vector<std::string>& notes) {
  RECALLD_RETURN_IF_ERROR(check_not_emptied(spec_.path));
  RECALLD_RETURN_IF_ERROR(create_if_missing(spec_.path));
  OpenOptions open_options;
  open_options.busy_timeout_ms = options_.busy_timeout_ms;
  open_options.vfs = options_.vfs;
  RECALLD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::open(spec_.path, open_options));
  RECALLD_ASSIGN_OR_RETURN(int64_t version, inspect(*database, spec_.schema));
  if (version > 0 && version < spec_.oldest_version) {
    notes.push_back(spec_.path + ": made anew, as schema version " + std::to_string(version) +
                    " is too old to be taken over; what it held is rebuilt");
    database.reset();
    RECALLD_RETURN_IF_ERROR(remove_database(spec_.path));
    RECALLD_RETURN_IF_ERROR(create_if_missing(spec_.path));
    RECALLD_ASSIGN_OR_RETURN(database, Database::open(spec_.path, open_options));
    version = 0;
  }
  RECALLD_RETURN_IF_ERROR(database->exec("PRAGMA page_size = " + std::to_string(spec_.page_size)));
  RECALLD_RETURN_IF_ERROR(turn_wal_on(*database));
  RECALLD_RETURN_IF_ERROR(
      database->exec(std::string("PRAGMA synchronous = ") + (spec_.sync_every_commit ? "FULL" : "NORMAL") +
                     "; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -" +
                     std::to_string(spec_.cache_kib)));
  RECALLD_RETURN_IF_ERROR(migrate(*database, spec_.schema, [&](int64_t from) {
    return spec_.copy_before_upgrade ? keep_copy(*database, from, notes) : ok_status();
  }));
  if (version > 0 && version < spec_.schema.version()) {
    notes.push_back(spec_.path + ": upgraded from schema version " + std::to_string(version) + " to " +
                    std::to_string(spec_.schema.version()));
  }
  database->checkpoint_on_close(true);
  return database;
}

Status StoreFile::keep_copy(Database& database, int64_t version, std::vector<std::string>& notes) const {
  const std::string name = free_name(spec_.path + ".schema-" + std::to_string(version));
  RECALLD_RETURN_IF_ERROR(copy_database(database, name, options_.vfs));
  notes.push_back(name + ": kept as it was before the upgrade; sessions that are deleted later stay in it");
  return ok_status();
}

Result<std::unique_ptr<Database>> StoreFile::open_reader() const {
  OpenOptions open_options;
  open_options.read_only = true;
  open_options.busy_timeout_ms = options_.busy_timeout_ms;
  open_options.vfs = options_.vfs;
  RECALLD_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::open(spec_.path, open_options));
  RECALLD_RETURN_IF_ERROR(database->exec("PRAGMA cache_size = -" + std::to_string(spec_.cache_kib)));
  return database;
}

Status StoreFile::write(size_t cost, const Body& body) {
  return wait_for(cost, [this, &body] { return run_guarded(body, true); });
}

Status StoreFile::maintain(const Body& body) {
  return wait_for(0, [this, &body] { return run_guarded(body, false); });
}

Status StoreFile::wait_for(size_t cost, std::function<Status()> job) {
  // Shared: the caller may be gone before set_value has returned.
  const auto promise = std::make_shared<std::promise<Status>>();
  std::future<Status> outcome = promise->get_future();
  const bool accepted = writer_.submit(spec_.lane, cost, [this, promise, job = std::move(job)] {
    promise->set_value(job());
    checkpoint_if_due();
  });
  return accepted ? outcome.get() : unavailable(spec_.path + ": closing");
}

void StoreFile::write_async(size_t cost, Body body, std::function<void(const Status&)> done) {
  auto report = std::make_shared<std::function<void(const Status&)>>(std::move(done));
  const bool accepted = writer_.submit(spec_.lane, cost, [this, body = std::move(body), report] {
    const Status outcome = run_guarded(body, true);
    if (*report) (*report)(outcome);
    checkpoint_if_due();
  });
  if (!accepted && *report) (*report)(unavailable(spec_.path + ": closing"));
}

Status StoreFile::run_guarded(const Body& body, bool transaction) {
  if (stopped_) return write_state();
  if (database_ == nullptr) return unavailable(spec_.path + ": could not be reopened; restart");
  const int64_t commits = database_->commits();
  Status outcome;
  if (transaction) {
    Result<Transaction> begun = Transaction::begin(*database_, Transaction::Mode::kWrite);
    outcome = begun.status();
    if (outcome.ok()) outcome = body(*database_);
    if (outcome.ok()) outcome = begun->commit();
  } else {
    outcome = body(*database_);
  }
  record(outcome, database_->commits() != commits);
  return outcome;
}

void StoreFile::record(const Status& outcome, bool wrote) {
  std::lock_guard lock(state_mutex_);
  if (database_->sync_failed()) {
    if (stopped_) return;
    // Trying again could report as durable what the kernel has already thrown away.
    stopped_ = true;
    database_->checkpoint_on_close(false);
    state_ = unavailable(spec_.path + ": syncing to disk failed, nothing more is written; check the disk and restart");
  } else if (outcome.ok()) {
    if (wrote) state_ = ok_status();
  } else if (outcome.code() == StatusCode::kStorageFull || outcome.code() == StatusCode::kCorrupt) {
    state_ = outcome;
  }
}

void StoreFile::checkpoint_if_due() {
  if (stopped_ || database_ == nullptr || database_->wal_frames() < spec_.checkpoint_frames) return;
  const Status outcome = database_->checkpoint_passive();
  if (!outcome.ok()) record(outcome, false);
}

Status StoreFile::read(const Body& body) {
  RECALLD_ASSIGN_OR_RETURN(ReaderPool::Lease lease, readers_.acquire());
  // Nothing to commit: what was read stands, and the destructor lets go of the snapshot.
  RECALLD_ASSIGN_OR_RETURN(const Transaction snapshot, Transaction::begin(lease.database(), Transaction::Mode::kRead));
  return body(lease.database());
}

Status StoreFile::reopen(const std::function<Status()>& between) {
  return wait_for(0, [this, &between]() -> Status {
    readers_.pause();
    if (database_ != nullptr) database_->checkpoint_on_close(false);
    database_.reset();
    Status outcome = between();
    if (outcome.ok()) {
      std::vector<std::string> notes;
      Result<std::unique_ptr<Database>> opened = open_writer(notes);
      outcome = opened.status();
      if (opened.ok()) database_ = std::move(opened).value();
    }
    readers_.resume();
    if (outcome.ok()) {
      stopped_ = false;
      outcome = apply_max_bytes(max_bytes_);
      record(outcome, true);
    } else {
      std::lock_guard lock(state_mutex_);
      state_ = outcome;
    }
    return outcome;
  });
}

Status StoreFile::write_state() const {
  std::lock_guard lock(state_mutex_);
  return state_;
}

Status StoreFile::apply_max_bytes(int64_t max_bytes) {
  constexpr int64_t kMostPages = 0xfffffffe;
  const int64_t pages = max_bytes <= 0 ? kMostPages : std::max<int64_t>(1, max_bytes / spec_.page_size);
  RECALLD_RETURN_IF_ERROR(database_->exec("PRAGMA max_page_count = " + std::to_string(pages)));
  max_bytes_ = max_bytes;
  return ok_status();
}

Status StoreFile::set_max_bytes(int64_t max_bytes) {
  return wait_for(0, [this, max_bytes]() -> Status {
    if (database_ == nullptr) return unavailable(spec_.path + ": could not be reopened; restart");
    return apply_max_bytes(max_bytes);
  });
}

int64_t StoreFile::file_bytes() const { return size_of(spec_.path) + size_of(spec_.path + "-wal"); }

Result<std::string> set_aside(const std::string& path) {
  std::string name;
  for (int n = 1; name.empty() || fs::exists(name) || fs::exists(name + "-wal"); ++n) {
    name = path + ".corrupt-" + std::to_string(n);
  }
  std::error_code failed;
  for (const char* suffix : {"", "-wal"}) {
    if (!fs::exists(fs::symlink_status(path + suffix, failed))) continue;
    fs::rename(path + suffix, name + suffix, failed);
    if (failed) return storage_full(path + suffix + ": is damaged and cannot be renamed: " + failed.message());
  }
  fs::remove(path + "-shm", failed);
  RECALLD_RETURN_IF_ERROR(sync_directory(folder_of(path)));
  return name;
}

}  // namespace recalld::storage
