#include "bench/recall/reference_store.h"

#include <filesystem>
#include <fstream>

namespace recalld::bench {
namespace {

constexpr uint32_t kMagic = 0x31464552;  // "REF1"
constexpr uint32_t kMaxLength = 1 << 20;

template <typename T>
void put(std::ofstream& out, const T& value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
bool get(std::ifstream& in, T* value) {
  return static_cast<bool>(in.read(reinterpret_cast<char*>(value), sizeof *value));
}

bool get_length(std::ifstream& in, uint32_t* length) { return get(in, length) && *length <= kMaxLength; }

bool read_entry(std::ifstream& in, std::string* key, int* question, Reference* reference) {
  uint32_t magic = 0, n_key = 0, n_tokens = 0;
  int32_t number = 0;
  if (!get(in, &magic) || magic != kMagic || !get_length(in, &n_key)) return false;
  key->resize(n_key);
  if (!in.read(key->data(), n_key) || !get(in, &number) || !get_length(in, &n_tokens)) return false;
  *question = number;
  reference->clear();
  for (uint32_t i = 0; i < n_tokens; ++i) {
    TopTokens top;
    uint32_t n = 0;
    if (!get_length(in, &n) || !get(in, &top.rest)) return false;
    for (uint32_t j = 0; j < n; ++j) {
      int32_t token = 0;
      float log_prob = 0;
      if (!get(in, &token) || !get(in, &log_prob)) return false;
      top.tokens.emplace_back(token, log_prob);
    }
    reference->push_back(std::move(top));
  }
  return true;
}

}  // namespace

Result<ReferenceStore> ReferenceStore::open(const std::string& path) {
  ReferenceStore store;
  store.path_ = path;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return store;
  std::streamoff good = 0;
  {
    std::ifstream in(path, std::ios::binary);
    std::string key;
    int question = 0;
    Reference reference;
    while (read_entry(in, &key, &question, &reference)) {
      store.references_.insert_or_assign({key, question}, std::move(reference));
      good = in.tellg();
    }
  }
  std::filesystem::resize_file(path, static_cast<uintmax_t>(good), error);
  if (error) return internal_error("'" + path + "': " + error.message());
  return store;
}

const Reference* ReferenceStore::find(const std::string& key, int question) const {
  const auto found = references_.find({key, question});
  return found == references_.end() ? nullptr : &found->second;
}

Status ReferenceStore::add(const std::string& key, int question, Reference reference) {
  std::ofstream out(path_, std::ios::binary | std::ios::app);
  put(out, kMagic);
  put(out, static_cast<uint32_t>(key.size()));
  out.write(key.data(), static_cast<std::streamsize>(key.size()));
  put(out, static_cast<int32_t>(question));
  put(out, static_cast<uint32_t>(reference.size()));
  for (const TopTokens& top : reference) {
    put(out, static_cast<uint32_t>(top.tokens.size()));
    put(out, top.rest);
    for (const auto& [token, log_prob] : top.tokens) {
      put(out, static_cast<int32_t>(token));
      put(out, log_prob);
    }
  }
  if (!out.flush()) return storage_full("cannot write '" + path_ + "'");
  references_.insert_or_assign({key, question}, std::move(reference));
  return ok_status();
}

}  // namespace recalld::bench
