#include "storage/stores.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "storage/directory_lock.h"
#include "storage/writer.h"

namespace recalld::storage {

namespace fs = std::filesystem;

struct Stores::Impl {
  // Destroyed in reverse: the writer's thread ends in ~Stores, the files close, the lock is given back last.
  DirectoryLock lock;
  std::string directory;
  std::unique_ptr<Writer> writer;
  std::vector<std::string> notes;
  std::unique_ptr<MemoryStore> memory;
  std::unique_ptr<KvStore> kv;

  ~Impl() {
    if (writer != nullptr) writer->stop();
  }

  Status open_files(const Clock& clock, const StoreOptions& options);
  Status remove_orphans();
  void remove_set_aside();
};

Status Stores::Impl::open_files(const Clock& clock, const StoreOptions& options) {
  RECALLD_ASSIGN_OR_RETURN(memory, MemoryStore::open(directory, clock, options, *writer, notes));
  MemoryStore* truth = memory.get();
  RECALLD_ASSIGN_OR_RETURN(kv, KvStore::open(
                                   directory, clock, options, *writer,
                                   [truth](std::string_view session) { return truth->exists(session); }, notes));
  Status orphans = remove_orphans();
  if (orphans.code() == StatusCode::kCorrupt) {
    RECALLD_ASSIGN_OR_RETURN(const std::string note, kv->start_over());
    notes.push_back(orphans.message() + "; " + note);
    orphans = ok_status();
  }
  for (const Status& status : {memory->finish_removals(), orphans}) {
    // Serving what is there goes before finishing a deletion: a full disk must not keep the daemon from starting.
    if (!status.ok()) notes.push_back("an earlier deletion could not be finished: " + status.message());
  }
  return ok_status();
}

Status Stores::Impl::remove_orphans() {
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::string> known, memory->session_ids());
  RECALLD_ASSIGN_OR_RETURN(const std::vector<std::string> stored, kv->sessions());
  for (const std::string& session : stored) {
    if (!std::binary_search(known.begin(), known.end(), session)) RECALLD_RETURN_IF_ERROR(kv->remove_session(session));
  }
  return kv->finish_removals();
}

void Stores::Impl::remove_set_aside() {
  std::error_code failed;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, failed)) {
    if (entry.path().filename().string().starts_with("kv.db.corrupt-")) fs::remove(entry.path(), failed);
  }
}

Stores::Stores(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Stores::~Stores() = default;

Result<std::unique_ptr<Stores>> Stores::open(const std::string& directory, const Clock& clock,
                                             const StoreOptions& options) {
  RECALLD_RETURN_IF_ERROR(make_directory(directory));
  RECALLD_ASSIGN_OR_RETURN(DirectoryLock lock, DirectoryLock::acquire(directory));
  std::unique_ptr<Impl> impl(new Impl{std::move(lock), directory, nullptr, {}, nullptr, nullptr});
  impl->writer = std::make_unique<Writer>(options.queue_jobs, options.queue_bytes);
  RECALLD_RETURN_IF_ERROR(impl->open_files(clock, options));
  return std::unique_ptr<Stores>(new Stores(std::move(impl)));
}

MemoryStore& Stores::memory() { return *impl_->memory; }

KvStore& Stores::kv() { return *impl_->kv; }

Status Stores::remove_session(std::string_view session) {
  const Status truth = impl_->memory->remove_session(session);
  // Not deleted at all: it keeps its memory.
  if (!truth.ok() && impl_->memory->turn_count(session).status().code() != StatusCode::kNotFound) return truth;
  const Status cache = impl_->kv->remove_session(session);
  impl_->remove_set_aside();
  if (!truth.ok() || cache.ok()) return truth;
  return cache.with_context("session " + std::string(session) +
                            " is deleted, but its memory is still in kv.db (tried again at the next start)");
}

Status Stores::write_state() const {
  const Status truth = impl_->memory->write_state();
  return truth.ok() ? impl_->kv->write_state() : truth;
}

Status Stores::probe() {
  const Status truth = impl_->memory->probe();
  const Status cache = impl_->kv->probe();
  return truth.ok() ? cache : truth;
}

const std::vector<std::string>& Stores::notes() const { return impl_->notes; }

const std::string& Stores::directory() const { return impl_->directory; }

}  // namespace recalld::storage
