// One database file of a store: its writing connection (used on the writer thread only), its readers, and whether
// writing works.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "storage/database.h"
#include "storage/options.h"
#include "storage/reader_pool.h"
#include "storage/schema.h"
#include "storage/writer.h"

namespace recalld::storage {

struct FileSpec {
  std::string path;
  Schema schema;
  int32_t page_size = 4096;
  bool sync_every_commit = true;  // synchronous FULL, else NORMAL
  int32_t cache_kib = 2048;       // of each connection
  int32_t checkpoint_frames = 1000;
  Writer::Lane lane = Writer::Lane::kMemory;
  int64_t oldest_version = 1;        // a file of an older schema is removed and made anew: for what can be rebuilt
  bool copy_before_upgrade = false;  // keeps <path>.schema-V[-N] with the file as it was
};

class StoreFile {
 public:
  using Body = std::function<Status(Database&)>;

  // Opens, creating or upgrading, before any other thread uses the file. Errors as Stores::open; what was done goes to
  // notes. The writer outlives the file and is stopped before the file is destroyed.
  static Result<std::unique_ptr<StoreFile>> open(FileSpec spec, const StoreOptions& options, Writer& writer,
                                                 std::vector<std::string>& notes);
  ~StoreFile();

  // Runs body in one write transaction on the writer thread; returns when it is committed, or rolled back with body's
  // error. cost: payload bytes that wait with it.
  Status write(size_t cost, const Body& body);
  // The same without waiting; done (may be null) gets the outcome on the writer thread.
  void write_async(size_t cost, Body body, std::function<void(const Status&)> done);
  // Runs body outside any transaction on the writer thread.
  Status maintain(const Body& body);
  // Runs body in one read transaction on the caller's thread.
  Status read(const Body& body);

  template <typename T>
  Result<T> write_value(size_t cost, const std::function<Result<T>(Database&)>& body) {
    return value_of<T>(body, [&](const Body& wrapped) { return write(cost, wrapped); });
  }
  template <typename T>
  Result<T> read_value(const std::function<Result<T>(Database&)>& body) {
    return value_of<T>(body, [&](const Body& wrapped) { return read(wrapped); });
  }

  // On the writer thread, outside jobs of this file.
  Database& writer_database() { return *database_; }

  // Closes everything, runs `between`, and opens what is then at the path.
  Status reopen(const std::function<Status()>& between);

  Status write_state() const;
  Status set_max_bytes(int64_t max_bytes);
  int64_t file_bytes() const;
  const std::string& path() const { return spec_.path; }
  const std::string& vfs() const { return options_.vfs; }

 private:
  StoreFile(FileSpec spec, StoreOptions options, Writer& writer);

  template <typename T, typename Run>
  static Result<T> value_of(const std::function<Result<T>(Database&)>& body, Run run) {
    std::optional<T> value;
    RECALLD_RETURN_IF_ERROR(run([&](Database& database) -> Status {
      Result<T> result = body(database);
      if (!result.ok()) return result.status();
      value.emplace(std::move(result).value());
      return ok_status();
    }));
    return *std::move(value);
  }

  Result<std::unique_ptr<Database>> open_writer(std::vector<std::string>& notes);
  Result<std::unique_ptr<Database>> open_reader() const;
  Status keep_copy(Database& database, int64_t version, std::vector<std::string>& notes) const;
  Status apply_max_bytes(int64_t max_bytes);

  Status wait_for(size_t cost, std::function<Status()> job);
  Status run_guarded(const Body& body, bool transaction);
  // wrote: the disk was tried, so success means that writing works.
  void record(const Status& outcome, bool wrote);
  void checkpoint_if_due();

  const FileSpec spec_;
  const StoreOptions options_;
  Writer& writer_;
  std::unique_ptr<Database> database_;
  ReaderPool readers_;
  int64_t max_bytes_ = 0;  // writer thread only
  mutable std::mutex state_mutex_;
  Status state_;
  bool stopped_ = false;  // after a failed sync; writer thread only
};

// Renames a database and its WAL to <path>.corrupt-N, N the first free number. Returns the new name.
Result<std::string> set_aside(const std::string& path);

}  // namespace recalld::storage
