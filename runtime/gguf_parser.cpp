#include "runtime/gguf_parser.h"

#include <ggml.h>
#include <gguf.h>

#include <cstring>
#include <limits>

namespace recalld::runtime {
namespace {

// An honest file has a few dozen keys and some thousand tensors; a count beyond this is damage, and refusing it early
// keeps the work that a damaged file can cause small.
constexpr uint64_t kMaxEntries = 1'000'000;
constexpr uint64_t kMaxNameBytes = 65'535;

}  // namespace

size_t gguf_element_bytes(uint32_t type) {
  switch (type) {
    case GGUF_TYPE_UINT8:
    case GGUF_TYPE_INT8:
    case GGUF_TYPE_BOOL:
      return 1;
    case GGUF_TYPE_UINT16:
    case GGUF_TYPE_INT16:
      return 2;
    case GGUF_TYPE_UINT32:
    case GGUF_TYPE_INT32:
    case GGUF_TYPE_FLOAT32:
      return 4;
    case GGUF_TYPE_UINT64:
    case GGUF_TYPE_INT64:
    case GGUF_TYPE_FLOAT64:
      return 8;
    default:
      return 0;
  }
}

template <typename T>
bool GgufParser::read(T* value) {
  if (left() < sizeof(T)) return false;
  std::memcpy(value, bytes_.data() + position_, sizeof(T));
  position_ += sizeof(T);
  return true;
}

bool GgufParser::skip(uint64_t n) {
  if (n > left()) return false;
  position_ += static_cast<size_t>(n);
  return true;
}

bool GgufParser::read_string(std::string* value) {
  uint64_t length = 0;
  if (!read(&length) || length > kMaxNameBytes || length > left()) return false;
  value->assign(reinterpret_cast<const char*>(bytes_.data() + position_), static_cast<size_t>(length));
  position_ += static_cast<size_t>(length);
  return true;
}

Status GgufParser::truncated(const std::string& where) const {
  return corrupt("the file is damaged or cut off in " + where + ", at byte " + std::to_string(position_) + " of " +
                 std::to_string(bytes_.size()) + "; download it again");
}

Status GgufParser::parse() {
  char magic[4] = {};
  if (!read(&magic) || std::memcmp(magic, GGUF_MAGIC, sizeof(magic)) != 0) {
    return invalid_argument("not a GGUF file (it does not start with 'GGUF'); convert the model to GGUF");
  }
  uint32_t version = 0;
  if (!read(&version)) return truncated("its header");
  if (version < 2 || version > GGUF_VERSION) {
    return unsupported("GGUF version " + std::to_string(version) + " is not supported (2 and 3 are, little endian)");
  }
  uint64_t n_tensors = 0;
  uint64_t n_values = 0;
  if (!read(&n_tensors) || !read(&n_values) || n_tensors > kMaxEntries || n_values > kMaxEntries) {
    return truncated("its header");
  }
  for (uint64_t i = 0; i < n_values; ++i) {
    std::string key;
    if (!read_string(&key) || key.empty()) return truncated("the name of key " + std::to_string(i));
    RECALLD_RETURN_IF_ERROR(parse_value(key));
  }
  std::vector<uint64_t> offsets(n_tensors);
  for (uint64_t& offset : offsets) RECALLD_RETURN_IF_ERROR(parse_tensor(&offset));
  return place_tensors(offsets);
}

Status GgufParser::parse_value(const std::string& key) {
  GgufValue value;
  if (!read(&value.type)) return truncated("key '" + key + "'");
  if (value.type == GGUF_TYPE_ARRAY) {
    value.is_array = true;
    if (!read(&value.type) || !read(&value.count)) return truncated("key '" + key + "'");
  }
  const size_t start = position_;
  if (value.type == GGUF_TYPE_STRING) {
    for (uint64_t i = 0; i < value.count; ++i) {
      uint64_t length = 0;
      if (!read(&length) || !skip(length)) return truncated("key '" + key + "'");
    }
  } else {
    const size_t element = gguf_element_bytes(value.type);
    if (element == 0) {
      return corrupt("key '" + key + "' has the unknown type " + std::to_string(value.type) + "; the file is damaged");
    }
    if (value.count > left() / element || !skip(value.count * element)) return truncated("key '" + key + "'");
  }
  value.bytes = bytes_.subspan(start, position_ - start);
  if (!target_->values_.emplace(key, value).second)
    return corrupt("key '" + key + "' stands twice; the file is damaged");
  target_->keys_.push_back(key);
  return ok_status();
}

Status GgufParser::parse_tensor(uint64_t* offset) {
  GgufTensor tensor;
  const std::string where = "the entry of tensor " + std::to_string(target_->tensors_.size());
  uint32_t n_dims = 0;
  if (!read_string(&tensor.name) || tensor.name.empty() || tensor.name.size() >= GGML_MAX_NAME || !read(&n_dims) ||
      n_dims < 1 || n_dims > GGML_MAX_DIMS) {
    return truncated(where);
  }
  const std::string what = "tensor '" + tensor.name + "'";
  tensor.shape.fill(1);
  int64_t elements = 1;
  for (uint32_t i = 0; i < n_dims; ++i) {
    int64_t& extent = tensor.shape[i];
    if (!read(&extent)) return truncated(where);
    if (extent < 1 || extent > std::numeric_limits<int64_t>::max() / elements) {
      return corrupt(what + " has an impossible shape; the file is damaged");
    }
    elements *= extent;
  }
  if (!read(&tensor.type) || !read(offset)) return truncated(where);
  if (tensor.type < 0 || tensor.type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(tensor.type)) == 0) {
    return unsupported(what + " has type " + std::to_string(tensor.type) + ", which this build does not know");
  }
  if (!target_->tensor_index_.emplace(tensor.name, target_->tensors_.size()).second) {
    return corrupt(what + " stands twice; the file is damaged");
  }
  target_->tensors_.push_back(std::move(tensor));
  return ok_status();
}

Status GgufParser::place_tensors(std::span<const uint64_t> offsets) {
  const int64_t alignment = target_->get_int(GGUF_KEY_GENERAL_ALIGNMENT).value_or(GGUF_DEFAULT_ALIGNMENT);
  if (alignment < 8 || alignment > (int64_t{1} << 20) || (alignment & (alignment - 1)) != 0) {
    return corrupt("general.alignment is " + std::to_string(alignment) + "; the file is damaged");
  }
  const size_t data_start = round_up(position_, static_cast<size_t>(alignment));
  for (size_t i = 0; i < offsets.size(); ++i) {
    GgufTensor& tensor = target_->tensors_[i];
    const auto type = static_cast<ggml_type>(tensor.type);
    const std::string what = "tensor '" + tensor.name + "'";
    const int64_t block = ggml_blck_size(type);
    if (tensor.shape[0] % block != 0) return corrupt(what + " has rows of a broken block; the file is damaged");
    const int64_t blocks = tensor.shape[0] / block * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
    const uint64_t element = ggml_type_size(type);
    const uint64_t available = bytes_.size() > data_start ? bytes_.size() - data_start : 0;
    if (offsets[i] % static_cast<uint64_t>(alignment) != 0) {
      return corrupt(what + " is not aligned; the file is damaged");
    }
    if (offsets[i] > available || static_cast<uint64_t>(blocks) > (available - offsets[i]) / element) {
      return corrupt(what + " reaches past the end of the file (" + std::to_string(bytes_.size()) +
                     " bytes); the file is cut off, download it again");
    }
    tensor.data = bytes_.subspan(data_start + offsets[i], static_cast<size_t>(blocks) * element);
  }
  return ok_status();
}

}  // namespace recalld::runtime
