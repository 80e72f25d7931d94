// Reads header, metadata and tensor table of a GGUF into a GgufFile, bounds-checked throughout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/status.h"
#include "runtime/gguf_file.h"

namespace recalld::runtime {

class GgufParser {
 public:
  // bytes: the whole file; target receives what is read and keeps pointers into bytes.
  GgufParser(std::span<const std::byte> bytes, GgufFile* target) : bytes_(bytes), target_(target) {}
  // kInvalidArgument, kUnsupported or kCorrupt, as GgufFile::open; messages do not name the file.
  Status parse();

 private:
  Status parse_value(const std::string& key);
  Status parse_tensor(uint64_t* offset);
  Status place_tensors(std::span<const uint64_t> offsets);

  template <typename T>
  bool read(T* value);
  bool read_string(std::string* value);
  bool skip(uint64_t n);
  size_t left() const { return bytes_.size() - position_; }
  Status truncated(const std::string& where) const;

  std::span<const std::byte> bytes_;
  GgufFile* target_;
  size_t position_ = 0;
};

// Bytes of one element of a gguf_type other than string and array; 0 for those and for unknown types.
size_t gguf_element_bytes(uint32_t type);

}  // namespace recalld::runtime
