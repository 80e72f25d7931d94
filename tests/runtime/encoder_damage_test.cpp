// Damaged encoder files: refused with a Status, or an encoder that works; never the end of the program.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "runtime/gguf_encoder.h"
#include "runtime/gguf_file.h"
#include "tests/runtime/runtime_fixture.h"
#include "tests/support/synthetic_bert.h"

namespace recalld::runtime {
namespace {

class EncoderDamage : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(recalld::testing::write_synthetic_bert(path_).ok());
    std::ifstream in(path_, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    const auto file = GgufFile::open(path_).value();
    header_ = static_cast<size_t>(file->tensors().front().data.data() - file->bytes().data());
  }

  void write(size_t n) {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(bytes_.data(), static_cast<std::streamsize>(n));
  }
  void flip(size_t at, unsigned bit) { bytes_[at] = static_cast<char>(bytes_[at] ^ static_cast<char>(1U << bit)); }

  // Whether it opened. What opens must answer, with a vector or an error.
  bool open_and_use() {
    const auto encoder = open_gguf_encoder(path_);
    if (!encoder.ok()) {
      EXPECT_FALSE(encoder.status().message().empty());
      return false;
    }
    const auto vector = (*encoder)->embed("the heating, caf\xC3\xA9 \xF0\x9F\x98\x80 is broken");
    EXPECT_TRUE(!vector.ok() || vector->size() == static_cast<size_t>((*encoder)->dim()));
    return true;
  }

  TempFolder folder_;
  std::string path_ = folder_.file("encoder.gguf");
  std::vector<char> bytes_;
  size_t header_ = 0;
};

TEST_F(EncoderDamage, BitsOfTheWholeHeader) {
  ASSERT_TRUE(open_and_use());
  // Odd, so that every place of a bit within its byte has its turn.
#ifdef RECALLD_SANITIZED
  constexpr unsigned kStep = 53;
#else
  constexpr unsigned kStep = 7;
#endif
  size_t refused = 0;
  for (size_t i = 0; i < header_ * 8; i += kStep) {
    flip(i / 8, i % 8);
    write(bytes_.size());
    refused += open_and_use() ? 0 : 1;
    flip(i / 8, i % 8);
  }
  EXPECT_GT(refused, header_ * 4 / kStep);
}

TEST_F(EncoderDamage, SeveralBitsAtOnce) {
  std::mt19937 random(5);
  for (int i = 0; i < 1000; ++i) {
    const std::vector<char> whole = bytes_;
    for (int n = 0; n < 3; ++n) flip(random() % (n < 2 ? header_ : bytes_.size()), random() % 8);
    write(bytes_.size());
    open_and_use();
    bytes_ = whole;
  }
}

TEST_F(EncoderDamage, EveryTruncationIsRefused) {
  for (size_t n = 0; n < bytes_.size() - 32; n += 5) {
    write(n);
    EXPECT_FALSE(open_and_use()) << n << " of " << bytes_.size();
  }
}

TEST_F(EncoderDamage, TheInstalledEncoderCutShort) {
  std::mt19937 random(6);
  std::filesystem::copy_file(std::getenv("RECALLD_TEST_ENCODER"), path_,
                             std::filesystem::copy_options::overwrite_existing);
  size_t size = std::filesystem::file_size(path_);
  while (size > 1000) {
    size = size / 4 + random() % (size / 2);
    std::filesystem::resize_file(path_, size);
    EXPECT_FALSE(open_and_use()) << size;
  }
}

}  // namespace
}  // namespace recalld::runtime
