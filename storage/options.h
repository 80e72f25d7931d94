// What can be chosen when the stores are opened.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace recalld::storage {

struct StoreOptions {
  int32_t busy_timeout_ms = 5000;         // how long to wait for a lock that another process holds on a file
  int32_t max_readers = 4;                // connections for reading, per file; more callers wait
  size_t queue_jobs = 1024;               // waiting writes, per file; more callers wait
  size_t queue_bytes = size_t{64} << 20;  // payload bytes of waiting writes; one write is always let in
  std::string vfs;                        // name of the SQLite VFS; empty = the default one
};

}  // namespace recalld::storage
