// A GGUF file, mapped read-only and checked before anything is trusted.
//
// GGUF is the file format of ggml (version 2 and 3): a header, key/value metadata, a table of tensors, then their data.
// open() walks header and table itself, with every length bounded by the file, before ggml's parser sees a byte, so
// that a damaged file is a Status and never an abort.
//
// Immutable after open(); any thread. The mapping lives as long as the object; tensor data is used in place. The file
// must not be changed while it is mapped: replace a model by renaming a new file over it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "runtime/mapped_file.h"

namespace recalld::runtime {

struct GgufOptions {
  // Refuse the file unless its contents have this digest (kCorrupt).
  std::optional<Digest128> expected_digest;
  // Look for NaN, infinity and impossible scales in every tensor. Reads the whole file once.
  bool check_data = true;
  // Threads that share the digest and the check of the data.
  int threads = 1;
};

struct GgufTensor {
  std::string name;
  int32_t type = 0;                // a ggml_type
  std::array<int64_t, 4> shape{};  // elements, fastest dimension first; unused ones are 1
  std::span<const std::byte> data;
};

// A metadata value as stored. Strings are an 8-byte length and the bytes.
struct GgufValue {
  uint32_t type = 0;  // a gguf_type; of the elements, for an array
  bool is_array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;
};

class GgufFile {
 public:
  // kNotFound: no such file. kInvalidArgument: a directory or not a GGUF. kCorrupt: truncated, damaged, or not the
  // expected digest. kUnsupported: a GGUF version or tensor type this build does not know.
  static Result<std::shared_ptr<const GgufFile>> open(const std::string& path, const GgufOptions& options = {});
  GgufFile(const GgufFile&) = delete;
  GgufFile& operator=(const GgufFile&) = delete;

  const std::string& path() const { return path_; }
  size_t size() const { return file_->bytes().size(); }
  std::span<const std::byte> bytes() const { return file_->bytes(); }
  // Of the whole file: the identity of the weights.
  Digest128 digest() const { return digest_; }

  // nullptr when there is none of that key.
  const GgufValue* find(std::string_view key) const;

  // Metadata by key; nothing when the key is missing or of another kind. get_int takes every integer type and bool.
  std::optional<int64_t> get_int(std::string_view key) const;
  std::optional<double> get_float(std::string_view key) const;
  std::optional<std::string> get_string(std::string_view key) const;
  // Elements of an array, or nothing when there is no array of that name.
  std::optional<size_t> array_size(std::string_view key) const;
  // Strings of an array, as stored (any bytes). They point into the mapping.
  std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const;
  // Integers of an array of an integer type or bool.
  std::optional<std::vector<int64_t>> get_ints(std::string_view key) const;

  // Keys in file order.
  const std::vector<std::string>& keys() const { return keys_; }

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // nullptr when there is none of that name.
  const GgufTensor* find_tensor(std::string_view name) const;

  // A digest over the metadata whose keys start with `prefix` (keys, types and values, in file order).
  Digest128 metadata_digest(std::string_view prefix) const;

 private:
  friend class GgufParser;
  GgufFile() = default;

  std::string path_;
  std::unique_ptr<MappedFile> file_;
  Digest128 digest_;
  std::map<std::string, GgufValue, std::less<>> values_;
  std::vector<std::string> keys_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> tensor_index_;
};

}  // namespace recalld::runtime
