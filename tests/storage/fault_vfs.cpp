#include "fault_vfs.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <new>

namespace recalld::storage {

namespace {

// What SQLite allocates for a file; the real one follows it in memory.
struct FaultFile {
  sqlite3_file base;
  FaultVfs* vfs;
  std::string* path;  // null for SQLite's nameless files
};

FaultFile* self(sqlite3_file* file) { return reinterpret_cast<FaultFile*>(file); }
sqlite3_file* real(sqlite3_file* file) { return reinterpret_cast<sqlite3_file*>(self(file) + 1); }
FaultVfs* owner(sqlite3_vfs* vfs) { return static_cast<FaultVfs*>(vfs->pAppData); }

int64_t size_of(sqlite3_file* file) {
  sqlite3_int64 size = 0;
  real(file)->pMethods->xFileSize(real(file), &size);
  return size;
}

std::string read_before(sqlite3_file* file, int64_t offset, int64_t size) {
  std::string before(static_cast<size_t>(std::max<int64_t>(0, size)), '\0');
  if (size > 0) real(file)->pMethods->xRead(real(file), before.data(), static_cast<int>(size), offset);
  return before;
}

int x_close(sqlite3_file* file) {
  delete self(file)->path;
  self(file)->path = nullptr;
  return real(file)->pMethods->xClose(real(file));
}

int x_read(sqlite3_file* file, void* out, int size, sqlite3_int64 offset) {
  return real(file)->pMethods->xRead(real(file), out, size, offset);
}

int x_write(sqlite3_file* file, const void* data, int size, sqlite3_int64 offset) {
  if (self(file)->path != nullptr) {
    const int code = self(file)->vfs->admit_write(*self(file)->path);
    if (code != SQLITE_OK) return code;
    FaultVfs::Undo undo;
    undo.offset = offset;
    undo.size_before = size_of(file);
    undo.size_after = std::max<int64_t>(undo.size_before, offset + size);
    undo.before = read_before(file, offset, std::min<int64_t>(size, undo.size_before - offset));
    undo.after.assign(static_cast<const char*>(data), static_cast<size_t>(size));
    self(file)->vfs->note(*self(file)->path, std::move(undo));
  }
  return real(file)->pMethods->xWrite(real(file), data, size, offset);
}

int x_truncate(sqlite3_file* file, sqlite3_int64 size) {
  if (self(file)->path != nullptr) {
    const int code = self(file)->vfs->admit_write(*self(file)->path);
    if (code != SQLITE_OK) return code;
    FaultVfs::Undo undo;
    undo.offset = size;
    undo.size_before = size_of(file);
    undo.size_after = size;
    undo.before = read_before(file, size, undo.size_before - size);
    self(file)->vfs->note(*self(file)->path, std::move(undo));
  }
  return real(file)->pMethods->xTruncate(real(file), size);
}

int x_sync(sqlite3_file* file, int flags) {
  if (self(file)->path != nullptr) {
    const int code = self(file)->vfs->admit_sync(*self(file)->path);
    if (code != SQLITE_OK) return code;
  }
  // The tests model what a sync does; a real one would only cost time.
  (void)flags;
  return SQLITE_OK;
}

int x_file_size(sqlite3_file* file, sqlite3_int64* size) { return real(file)->pMethods->xFileSize(real(file), size); }
int x_lock(sqlite3_file* file, int level) { return real(file)->pMethods->xLock(real(file), level); }
int x_unlock(sqlite3_file* file, int level) { return real(file)->pMethods->xUnlock(real(file), level); }
int x_check_reserved(sqlite3_file* file, int* out) { return real(file)->pMethods->xCheckReservedLock(real(file), out); }
int x_control(sqlite3_file* file, int op, void* arg) { return real(file)->pMethods->xFileControl(real(file), op, arg); }
int x_sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
int x_characteristics(sqlite3_file* file) { return real(file)->pMethods->xDeviceCharacteristics(real(file)); }
int x_shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
  return real(file)->pMethods->xShmMap(real(file), page, size, extend, out);
}
int x_shm_lock(sqlite3_file* file, int offset, int n, int flags) {
  return real(file)->pMethods->xShmLock(real(file), offset, n, flags);
}
void x_shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
int x_shm_unmap(sqlite3_file* file, int remove) { return real(file)->pMethods->xShmUnmap(real(file), remove); }

const sqlite3_io_methods kMethods = {
    2,           x_close,          x_read,    x_write,       x_truncate,        x_sync,    x_file_size, x_lock,
    x_unlock,    x_check_reserved, x_control, x_sector_size, x_characteristics, x_shm_map, x_shm_lock,  x_shm_barrier,
    x_shm_unmap, nullptr,          nullptr};

int x_open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  sqlite3_vfs* base = owner(vfs)->base();
  self(file)->base.pMethods = nullptr;
  self(file)->vfs = owner(vfs);
  self(file)->path = nullptr;
  const int code = base->xOpen(base, path, real(file), flags, out_flags);
  if (code != SQLITE_OK) return code;
  if (path != nullptr) self(file)->path = new std::string(path);
  self(file)->base.pMethods = &kMethods;
  return SQLITE_OK;
}

int g_count = 0;

}  // namespace

FaultVfs::FaultVfs() : base_(sqlite3_vfs_find(nullptr)), name_("fault-" + std::to_string(++g_count)) {
  vfs_ = *base_;
  vfs_.pNext = nullptr;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.szOsFile = static_cast<int>(sizeof(FaultFile)) + base_->szOsFile;
  vfs_.xOpen = x_open;
  // The others of the unix VFS do not use their first argument's data, but for these.
  vfs_.xDelete = [](sqlite3_vfs* vfs, const char* path, int sync) {
    return owner(vfs)->base()->xDelete(owner(vfs)->base(), path, sync);
  };
  vfs_.xFullPathname = [](sqlite3_vfs* vfs, const char* path, int size, char* out) {
    return owner(vfs)->base()->xFullPathname(owner(vfs)->base(), path, size, out);
  };
  sqlite3_vfs_register(&vfs_, 0);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_); }

void FaultVfs::fail_writes(int code, const std::string& suffix) {
  std::lock_guard lock(mutex_);
  write_code_ = code;
  write_suffix_ = suffix;
}

void FaultVfs::fail_syncs(bool fail) {
  std::lock_guard lock(mutex_);
  fail_syncs_ = fail;
}

int64_t FaultVfs::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

void FaultVfs::cut_at(int64_t operation) {
  std::lock_guard lock(mutex_);
  cut_at_ = operation;
}

int FaultVfs::admit_write(const std::string& path) {
  std::lock_guard lock(mutex_);
  ++operations_;
  if (cut()) return SQLITE_IOERR_WRITE;
  return path.ends_with(write_suffix_) ? write_code_ : SQLITE_OK;
}

int FaultVfs::admit_sync(const std::string& path) {
  std::lock_guard lock(mutex_);
  ++operations_;
  if (cut() || fail_syncs_) return SQLITE_IOERR_FSYNC;
  unsynced_.erase(path);
  return SQLITE_OK;
}

void FaultVfs::note(const std::string& path, Undo undo) {
  std::lock_guard lock(mutex_);
  unsynced_[path].push_back(std::move(undo));
}

void FaultVfs::lose_unsynced(std::mt19937* random) {
  std::lock_guard lock(mutex_);
  for (auto& [path, undos] : unsynced_) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (descriptor < 0) continue;
    const auto restore = [&](int64_t offset, const std::string& bytes, int64_t size) {
      if (!bytes.empty() && ::pwrite(descriptor, bytes.data(), bytes.size(), offset) < 0) return false;
      return ::ftruncate(descriptor, size) == 0;
    };
    const size_t kept = random != nullptr ? (*random)() % (undos.size() + 1) : 0;
    bool done = true;
    for (size_t i = undos.size(); i > kept; --i) {
      done = done && restore(undos[i - 1].offset, undos[i - 1].before, undos[i - 1].size_before);
    }
    if (kept > 0 && !undos[kept - 1].after.empty()) {
      // Half of the newest write that stayed.
      const Undo& torn = undos[kept - 1];
      const size_t half = std::min(torn.after.size() / 2, torn.before.size());
      if (half < torn.before.size())
        done = done && restore(torn.offset + static_cast<int64_t>(half), torn.before.substr(half), torn.size_after);
    }
    ::close(descriptor);
    if (!done) std::abort();
  }
  unsynced_.clear();
}

}  // namespace recalld::storage
