// What the tests of the stores share: a directory of their own, raw looks into files, short ways to make rows.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "storage/stores.h"

namespace recalld::storage {

// A new directory, removed with all that is in it.
class TempDir {
 public:
  // in_memory: on the memory file system where there is one; for tests that model what reaches the disk themselves.
  explicit TempDir(bool in_memory = false);
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

std::string read_file(const std::string& path);
void write_file(const std::string& path, std::string_view contents);
// Overwrites one byte.
void flip_bit(const std::string& path, size_t offset);

// The files of a directory, one after another.
std::string read_all_files(const std::string& directory);

TurnRow turn(std::string text, std::string role = "user", std::string speaker = "");

// A session of principal "local", which must not exist yet.
void make_session(Stores& stores, const std::string& id);

// The stores of a directory, and sessions "s" and "t" in them.
class OpenStores : public ::testing::Test {
 protected:
  void SetUp() override;
  // Closes the stores and opens them again.
  void reopen();
  KvStore& kv() { return stores_->kv(); }

  TempDir dir_;
  ManualClock clock_{1'700'000'000'000};
  std::unique_ptr<Stores> stores_;
};

// Bytes that depend on every one of the arguments; deterministic.
std::vector<std::byte> pattern_bytes(uint64_t seed, size_t size);
NewChunk new_chunk(int32_t idx, ChunkKind kind, std::vector<std::byte> payload);

}  // namespace recalld::storage

// The value of a Result, or a fatal failure of the test that names the error.
#define ASSERT_OK_AND_ASSIGN(target, expression) \
  ASSERT_OK_AND_ASSIGN_INNER(RECALLD_CONCAT(test_result_, __LINE__), target, expression)
#define ASSERT_OK_AND_ASSIGN_INNER(result, target, expression) \
  auto result = (expression);                                  \
  ASSERT_TRUE((result).ok()) << (result).status().to_string(); \
  target = std::move(result).value()
#define ASSERT_OK(expression)                                   \
  do {                                                          \
    const auto test_status_ = (expression);                     \
    ASSERT_TRUE(test_status_.ok()) << test_status_.to_string(); \
  } while (false)
#define EXPECT_OK(expression)                                   \
  do {                                                          \
    const auto test_status_ = (expression);                     \
    EXPECT_TRUE(test_status_.ok()) << test_status_.to_string(); \
  } while (false)
