#include "runtime/gguf_file.h"

#include <ggml.h>
#include <gguf.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "runtime/gguf_parser.h"

namespace recalld::runtime {
namespace {

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

std::optional<int64_t> load_int(uint32_t type, const std::byte* bytes) {
  switch (type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_BOOL:
      return load<uint8_t>(bytes);
    case GGUF_TYPE_INT8:
      return load<int8_t>(bytes);
    case GGUF_TYPE_UINT16:
      return load<uint16_t>(bytes);
    case GGUF_TYPE_INT16:
      return load<int16_t>(bytes);
    case GGUF_TYPE_UINT32:
      return load<uint32_t>(bytes);
    case GGUF_TYPE_INT32:
      return load<int32_t>(bytes);
    case GGUF_TYPE_INT64:
    case GGUF_TYPE_UINT64:
      return load<int64_t>(bytes);
    default:
      return std::nullopt;
  }
}

// Rows are checked in pieces, so that threads share even one large tensor.
constexpr size_t kCheckBytes = size_t{4} << 20;

struct CheckPiece {
  const GgufTensor* tensor;
  std::span<const std::byte> bytes;
};

bool all_finite(const GgufTensor& tensor, std::span<const std::byte> bytes) {
  switch (tensor.type) {
    case GGML_TYPE_I8:
    case GGML_TYPE_I16:
    case GGML_TYPE_I32:
    case GGML_TYPE_I64:
      return true;
    default:
      return ggml_validate_row_data(static_cast<ggml_type>(tensor.type), bytes.data(), bytes.size());
  }
}

Status check_data(const std::vector<GgufTensor>& tensors, int threads) {
  std::vector<CheckPiece> pieces;
  for (const GgufTensor& tensor : tensors) {
    const size_t row = ggml_row_size(static_cast<ggml_type>(tensor.type), tensor.shape[0]);
    const size_t step = std::max<size_t>(1, kCheckBytes / row) * row;
    for (size_t at = 0; at < tensor.data.size(); at += step) {
      pieces.push_back({&tensor, tensor.data.subspan(at, std::min(step, tensor.data.size() - at))});
    }
  }
  std::atomic<size_t> next{0};
  std::atomic<const GgufTensor*> bad{nullptr};
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size() && bad == nullptr; i = next++) {
      if (!all_finite(*pieces[i].tensor, pieces[i].bytes)) bad = pieces[i].tensor;
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (int i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  }
  if (const GgufTensor* tensor = bad) {
    return corrupt("tensor '" + tensor->name +
                   "' holds values that are not numbers; the file is damaged, download it again");
  }
  return ok_status();
}

}  // namespace

Result<std::shared_ptr<const GgufFile>> GgufFile::open(const std::string& path, const GgufOptions& options) {
  std::shared_ptr<GgufFile> file(new GgufFile());
  file->path_ = path;
  RECALLD_ASSIGN_OR_RETURN(file->file_, MappedFile::open(path));
  const std::string context = "model file '" + path + "'";
  if (Status status = GgufParser(file->bytes(), file.get()).parse(); !status.ok()) return status.with_context(context);
  file->digest_ = digest128(file->bytes());
  if (options.expected_digest && *options.expected_digest != file->digest_) {
    return corrupt(context + " has digest " + file->digest_.hex() + ", not the expected " +
                   options.expected_digest->hex() + "; download it again or correct the setting");
  }
  if (options.check_data) {
    if (Status status = check_data(file->tensors_, options.threads); !status.ok()) return status.with_context(context);
  }
  return std::shared_ptr<const GgufFile>(std::move(file));
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

std::optional<int64_t> GgufFile::get_int(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || value->is_array) return std::nullopt;
  return load_int(value->type, value->bytes.data());
}

std::optional<double> GgufFile::get_float(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || value->is_array) return std::nullopt;
  if (value->type == GGUF_TYPE_FLOAT32) return load<float>(value->bytes.data());
  if (value->type == GGUF_TYPE_FLOAT64) return load<double>(value->bytes.data());
  return std::nullopt;
}

std::optional<std::string> GgufFile::get_string(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || value->is_array || value->type != GGUF_TYPE_STRING) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(value->bytes.data()) + sizeof(uint64_t),
                     value->bytes.size() - sizeof(uint64_t));
}

std::optional<size_t> GgufFile::array_size(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || !value->is_array) return std::nullopt;
  return value->count;
}

std::optional<std::vector<std::string_view>> GgufFile::get_strings(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || !value->is_array || value->type != GGUF_TYPE_STRING) return std::nullopt;
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  const std::byte* at = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = load<uint64_t>(at);
    strings.emplace_back(reinterpret_cast<const char*>(at) + sizeof(uint64_t), length);
    at += sizeof(uint64_t) + length;
  }
  return strings;
}

std::optional<std::vector<int64_t>> GgufFile::get_ints(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr || !value->is_array || value->type == GGUF_TYPE_FLOAT32 || value->type == GGUF_TYPE_FLOAT64) {
    return std::nullopt;
  }
  const size_t element = gguf_element_bytes(value->type);
  if (element == 0) return std::nullopt;
  std::vector<int64_t> ints(value->count);
  for (size_t i = 0; i < ints.size(); ++i) ints[i] = *load_int(value->type, value->bytes.data() + i * element);
  return ints;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

Digest128 GgufFile::metadata_digest(std::string_view prefix) const {
  Digester digester;
  for (const std::string& key : keys_) {
    if (!key.starts_with(prefix)) continue;
    const GgufValue& value = *find(key);
    digester.add(std::string_view(key));
    digester.add(uint64_t{value.type});
    digester.add(value.bytes);
  }
  return digester.finish();
}

}  // namespace recalld::runtime
