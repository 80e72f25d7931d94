// A file mapped read-only into memory.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace recalld::runtime {

// Immutable; any thread. The bytes are valid while the object lives and nobody shortens the file.
class MappedFile {
 public:
  // kNotFound, kPermissionDenied, kInvalidArgument (not a regular file) or kCorrupt (empty).
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::span<const std::byte> bytes_;
};

}  // namespace recalld::runtime
