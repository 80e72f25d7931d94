#include "support.h"

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace recalld::storage {

namespace fs = std::filesystem;

TempDir::TempDir(bool in_memory) {
  const fs::path base = in_memory && ::access("/dev/shm", W_OK) == 0 ? fs::path("/dev/shm") : fs::temp_directory_path();
  std::string name = (base / "recalld-storage-XXXXXX").string();
  path_ = ::mkdtemp(name.data());
}

TempDir::~TempDir() {
  std::error_code failed;
  fs::remove_all(path_, failed);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

void write_file(const std::string& path, std::string_view contents) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(contents.data(), static_cast<std::streamsize>(contents.size()));
}

void flip_bit(const std::string& path, size_t offset) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset));
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(byte);
}

std::string read_all_files(const std::string& directory) {
  std::string all;
  for (const auto& entry : fs::directory_iterator(directory)) {
    if (entry.is_regular_file()) all += read_file(entry.path().string());
  }
  return all;
}

TurnRow turn(std::string text, std::string role, std::string speaker) {
  TurnRow row;
  row.role = std::move(role);
  row.speaker = std::move(speaker);
  row.text = std::move(text);
  return row;
}

void make_session(Stores& stores, const std::string& id) {
  SessionRow row;
  row.id = id;
  row.principal = "local";
  ASSERT_OK(stores.memory().create_session(row).status());
}

void OpenStores::SetUp() {
  reopen();
  make_session(*stores_, "s");
  make_session(*stores_, "t");
}

void OpenStores::reopen() {
  stores_.reset();
  auto opened = Stores::open(dir_.path(), clock_);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  stores_ = std::move(opened).value();
}

std::vector<std::byte> pattern_bytes(uint64_t seed, size_t size) {
  std::vector<std::byte> bytes(size);
  uint64_t state = seed * 0x9E3779B97F4A7C15U + 1;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    byte = static_cast<std::byte>(state >> 56);
  }
  return bytes;
}

NewChunk new_chunk(int32_t idx, ChunkKind kind, std::vector<std::byte> payload) {
  const auto owner = std::make_shared<std::vector<std::byte>>(std::move(payload));
  NewChunk chunk;
  chunk.idx = idx;
  chunk.kind = kind;
  chunk.token_first = int64_t{64} * idx;
  chunk.n_tokens = 64;
  chunk.payload = *owner;
  chunk.owner = owner;
  return chunk;
}

}  // namespace recalld::storage
