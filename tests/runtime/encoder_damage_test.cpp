// Damaged encoder files: refused with a Status, or an encoder that works; never the end of the program.
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "runtime/gguf_encoder.h"
#include "runtime/gguf_file.h"
#include "tests/runtime/runtime_fixture.h"

namespace recalld::runtime {
namespace {

class EncoderDamage : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("RECALLD_TEST_ENCODER");
    ASSERT_NE(path, nullptr);
    std::filesystem::copy_file(path, path_);
    const auto file = GgufFile::open(path).value();
    size_ = file->size();
    const auto offset = [&](const std::byte* at) { return static_cast<size_t>(at - file->bytes().data()); };
    data_ = offset(file->tensors().front().data.data());
    vocabulary_ = offset(file->find("tokenizer.ggml.tokens")->bytes.data());
    const auto& types = file->find("tokenizer.ggml.token_type")->bytes;
    after_vocabulary_ = offset(types.data() + types.size());
  }

  void flip(size_t at, unsigned bit) {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    char byte = 0;
    file.seekg(static_cast<std::streamoff>(at)).read(&byte, 1);
    byte = static_cast<char>(byte ^ static_cast<char>(1U << bit));
    file.seekp(static_cast<std::streamoff>(at)).write(&byte, 1);
  }

  // Whether it opened. What opens must answer, with a vector or an error.
  bool open_and_use() {
    const auto encoder = open_gguf_encoder(path_);
    if (!encoder.ok()) {
      EXPECT_FALSE(encoder.status().message().empty());
      return false;
    }
    const auto vector = (*encoder)->embed("the heating, caf\xC3\xA9 \xF0\x9F\x98\x80");
    EXPECT_TRUE(!vector.ok() || vector->size() == static_cast<size_t>((*encoder)->dim()));
    return true;
  }

  TempFolder folder_;
  std::string path_ = folder_.file("encoder.gguf");
  size_t size_ = 0;
  size_t data_ = 0;
  size_t vocabulary_ = 0;
  size_t after_vocabulary_ = 0;
};

TEST_F(EncoderDamage, FlippedBits) {
  std::mt19937 random(5);
  int refused = 0;
  const auto try_within = [&](size_t begin, size_t end, int n) {
    for (int i = 0; i < n; ++i) {
      const size_t at = begin + random() % (end - begin);
      const unsigned bit = random() % 8;
      flip(at, bit);
      refused += open_and_use() ? 0 : 1;
      flip(at, bit);
    }
  };
  try_within(0, vocabulary_, 60);
  try_within(vocabulary_, after_vocabulary_, 10);
  try_within(after_vocabulary_, data_, 30);
  try_within(data_, size_, 5);
  EXPECT_GT(refused, 30);
  EXPECT_TRUE(open_and_use());
}

TEST_F(EncoderDamage, EveryTruncationIsRefused) {
  std::mt19937 random(6);
  for (int i = 0; i < 20; ++i) {
    const size_t limit = i < 8 ? vocabulary_ : i < 14 ? data_ : size_;
    const size_t size = std::min<size_t>(random() % limit, std::filesystem::file_size(path_) - 1);
    std::filesystem::resize_file(path_, size);
    EXPECT_FALSE(open_and_use()) << size;
    std::filesystem::copy_file(std::getenv("RECALLD_TEST_ENCODER"), path_,
                               std::filesystem::copy_options::overwrite_existing);
  }
}

}  // namespace
}  // namespace recalld::runtime
