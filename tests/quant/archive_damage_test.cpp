// Archives whose bytes are not what was written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "quant/archive.h"
#include "quant/none16.h"
#include "tests/quant/chunks.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using testing::fix_chunk_checksum;
using ::testing::HasSubstr;
using testing::Kind;
using testing::vectors;

AlignedBuffer make_chunk(int n_tokens, int n_layers) {
  constexpr int kDims = 32;
  PageMeta meta;
  meta.n_kv_heads = 1;
  meta.head_dim = kDims;
  meta.n_tokens = n_tokens;
  const std::vector<std::shared_ptr<const Codec>> codecs(static_cast<size_t>(n_layers), std::make_shared<None16>());
  return testing::chunk_of(codecs, meta, [&](size_t i) {
    const auto layer = static_cast<unsigned>(i);
    auto k = vectors(Kind::kBigMean, n_tokens, kDims, 2 * layer), v = vectors(Kind::kStudentT, n_tokens, kDims, layer);
    std::fill_n(v.begin(), kDims, 0.0F);
    return std::pair(std::move(k), std::move(v));
  });
}

ArchiveOptions with_rope() {
  ArchiveOptions options;
  options.rope = kernels::RopeSpec{32, true, std::vector<float>(16, 0.1F)};
  return options;
}

TEST(ArchiveDamage, IsNamed) {
  const AlignedBuffer chunk = make_chunk(19, 3);
  const auto archive = encode_archive(chunk.span()).value();
  AlignedBuffer back(chunk.size());
  const auto message = [&](std::vector<std::byte> bytes, bool fix = true) {
    if (fix) fix_chunk_checksum(bytes);
    const Status status = decode_archive(bytes, back.span());
    EXPECT_EQ(StatusCode::kCorrupt, status.code());
    return status.message();
  };
  const auto with = [&](size_t at, int value) {
    std::vector<std::byte> bytes = archive;
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  EXPECT_THAT(message(with(0, 1), false), HasSubstr("magic"));
  EXPECT_THAT(message(with(4, 2), false), HasSubstr("version is 2"));
  EXPECT_THAT(message(with(archive.size() - 1, 0xA5), false), HasSubstr("checksum"));
  EXPECT_THAT(message(with(32, 3)), HasSubstr("rope of 3 dims"));
  EXPECT_THAT(message(with(32, 64)), HasSubstr("page"));
  EXPECT_THAT(message(with(23, 1)), HasSubstr("claims pages"));
  EXPECT_THAT(message(with(26, 255)), HasSubstr("page count"));
  EXPECT_THAT(message(with(30, 255)), HasSubstr("headers end early"));
  EXPECT_THAT(message(with(40, 9)), HasSubstr("mark of a page is 9"));
  EXPECT_THAT(message(with(40 + 1 + 8, 2)), HasSubstr("page"));
  EXPECT_THAT(message({archive.begin(), archive.begin() + 20}, false), HasSubstr("less than a header"));
  EXPECT_THAT(message({archive.begin(), archive.end() - 100}), HasSubstr("early"));
  EXPECT_THAT(message({archive.begin(), archive.end() - 2}), HasSubstr("early"));
  std::vector<std::byte> longer = archive;
  longer.resize(longer.size() + 2);
  EXPECT_THAT(message(longer), HasSubstr("do not add up"));
  AlignedBuffer small(64);
  EXPECT_EQ(StatusCode::kInvalidArgument, decode_archive(archive, small.span()).code());
}

TEST(ArchiveDamage, AnyFlippedBitIsSeen) {
  const AlignedBuffer chunk = make_chunk(4, 1);
  std::vector<std::byte> archive = encode_archive(chunk.span()).value();
  AlignedBuffer back(chunk.size());
  for (size_t bit = 0; bit < archive.size() * 8; ++bit) {
    archive[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    ASSERT_EQ(StatusCode::kCorrupt, inspect_archive(archive).status().code()) << bit;
    archive[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

// Anything behind a right checksum: refused, or decoded to something, but never out of bounds (for the sanitizers).
TEST(ArchiveDamage, NoBytesLeadOutOfBounds) {
  std::mt19937 random(12);
  for (const ArchiveOptions& options : {ArchiveOptions{}, with_rope()}) {
    const AlignedBuffer chunk = make_chunk(19, 3);
    const auto archive = encode_archive(chunk.span(), options).value();
    AlignedBuffer back(chunk.size());
    int refused = 0;
    constexpr int kMutations = 1000;
    for (int i = 0; i < kMutations; ++i) {
      std::vector<std::byte> bytes = archive;
      // Headers and the first numbers decide about the rest and deserve half of the changes.
      const size_t range = random() % 2 == 0 ? std::min<size_t>(bytes.size(), 260) : bytes.size();
      const int changes = static_cast<int>(random() % 4) + 1;
      for (int j = 0; j < changes; ++j) bytes[16 + random() % (range - 16)] = static_cast<std::byte>(random());
      if (random() % 8 == 0) bytes.resize(16 + random() % (bytes.size() - 16));
      // Sizes are checked first; leave them right most of the time.
      if (random() % 16 != 0 && bytes.size() >= 40) std::memcpy(bytes.data() + 16, archive.data() + 16, 24);
      bytes.shrink_to_fit();
      fix_chunk_checksum(bytes);
      if (!decode_archive(bytes, back.span()).ok()) ++refused;
    }
    EXPECT_GT(refused, kMutations * 8 / 10);
  }
}

TEST(ArchiveDamage, NoiseLeadsNowhere) {
  std::mt19937 random(13);
  const AlignedBuffer chunk = make_chunk(19, 3);
  const auto archive = encode_archive(chunk.span()).value();
  AlignedBuffer back(chunk.size());
  for (int i = 0; i < 150; ++i) {
    std::vector<std::byte> bytes = archive;
    // The pages' headers are kept: 40 bytes, 1 + 88 and two marks.
    for (size_t at = 131; at < bytes.size(); ++at)
      bytes[at] = i % 3 == 0 ? std::byte{0} : i % 3 == 1 ? std::byte{0xFF} : static_cast<std::byte>(random());
    fix_chunk_checksum(bytes);
    EXPECT_FALSE(decode_archive(bytes, back.span()).ok());
  }
}

}  // namespace
}  // namespace recalld::quant
