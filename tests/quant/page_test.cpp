#include "quant/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "quant/codec.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using ::testing::HasSubstr;
using testing::Kind;
using testing::vectors;

PageMeta meta_of(int n_tokens, int head_dim, int n_kv_heads = 2) {
  PageMeta meta;
  meta.layer = 7;
  meta.n_kv_heads = n_kv_heads;
  meta.head_dim = head_dim;
  meta.n_tokens = n_tokens;
  meta.rope_start = 1234;
  meta.token_start = 5'000'000'000;
  meta.fingerprint = {1, 2};
  return meta;
}

AlignedBuffer make_page(const std::string& name, const PageMeta& meta) {
  const auto codec = make_codec(name).value();
  const int width = meta.n_kv_heads * meta.head_dim;
  const auto k = vectors(Kind::kBigMean, meta.n_tokens, width, 1),
             v = vectors(Kind::kGaussian, meta.n_tokens, width, 2);
  AlignedBuffer page(codec->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  const Status status = codec->encode_page(meta, k.data(), v.data(), page.span());
  EXPECT_TRUE(status.ok()) << status.to_string();
  return page;
}

TEST(Page, HeaderComesBack) {
  for (const std::string& name : codec_names()) {
    const PageMeta meta = meta_of(37, 80);
    const AlignedBuffer page = make_page(name, meta);
    const auto view = verify_page(page.span());
    ASSERT_TRUE(view.ok()) << view.status().to_string();
    EXPECT_EQ(make_codec(name).value()->tag(), view->codec);
    EXPECT_EQ(7, view->meta.layer);
    EXPECT_EQ(2, view->meta.n_kv_heads);
    EXPECT_EQ(80, view->meta.head_dim);
    EXPECT_EQ(37, view->meta.n_tokens);
    EXPECT_EQ(1234, view->meta.rope_start);
    EXPECT_EQ(5'000'000'000, view->meta.token_start);
    EXPECT_EQ((Digest128{1, 2}), view->meta.fingerprint);
  }
}

TEST(Page, SizesAreWhatTheFormatSays) {
  const auto bytes = [](const char* name, int heads, int dim, int n) {
    return make_codec(name).value()->page_bytes(heads, dim, n);
  };
  EXPECT_EQ(128u + 3 * (2 * 64 * 64 * 2), bytes("none16", 3, 64, 64));
  EXPECT_EQ(128u + 3 * (2 * 64 * 32 + 2 * 128 + 128), bytes("turboquant-4", 3, 64, 64));
  EXPECT_EQ(128u + 3 * (2 * 64 * 32 + 2 * 128), bytes("turboquant-4-plain", 3, 64, 64));
  EXPECT_EQ(128u + 3 * (64 * 32 + 64 * 24 + 2 * 128 + 128), bytes("turboquant-k4v3", 3, 64, 64));
  // One token is padded to a group of 16, every section to 64 bytes: scales 32 -> 64, mean 160 -> 192.
  EXPECT_EQ(128u + (16 * 80 * 2 / 8 + 64 + 192 + 16 * 80 * 2 / 8 + 64), bytes("turboquant-2", 1, 80, 1));
}

TEST(Page, SectionsAreAlignedInsideAndApart) {
  for (const std::string& name : codec_names()) {
    for (const int n : {1, 17, 256}) {
      const PageMeta meta = meta_of(n, 96, 3);
      const AlignedBuffer page = make_page(name, meta);
      const PageView view = parse_page(page.span()).value();
      const std::byte* begin = page.data() + kPageHeaderBytes;
      for (int head = 0; head < 3; ++head) {
        const kernels::PageSlice slice = view.slice(head);
        EXPECT_EQ(reinterpret_cast<const std::byte*>(slice.k), begin);
        EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(slice.k) % 64);
        EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(slice.v) % 64);
        EXPECT_GE(slice.v, slice.k + kernels::side_bytes(n, 96, slice.k_bits));
        EXPECT_EQ(slice.k_bits == 16, slice.k_scale == nullptr);
        EXPECT_EQ(slice.v_bits == 16, slice.v_scale == nullptr);
        EXPECT_EQ(name.find("plain") == std::string::npos && slice.k_bits != 16, slice.k_mean != nullptr);
        begin += (page.size() - kPageHeaderBytes) / 3;
      }
      EXPECT_EQ(page.data() + page.size(), begin);
    }
  }
}

TEST(Page, EveryFlippedBitIsSeen) {
  AlignedBuffer page = make_page("turboquant-k3v2", meta_of(3, 64, 1));
  for (size_t byte = 0; byte < page.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      page.data()[byte] ^= std::byte{1} << bit;
      const auto view = verify_page(page.span());
      ASSERT_FALSE(view.ok()) << "byte " << byte << " bit " << bit;
      ASSERT_EQ(StatusCode::kCorrupt, view.status().code());
      page.data()[byte] ^= std::byte{1} << bit;
    }
  }
  EXPECT_TRUE(verify_page(page.span()).ok());
}

TEST(Page, EveryTruncationIsSeen) {
  const AlignedBuffer page = make_page("turboquant-4", meta_of(5, 64, 1));
  for (size_t size = 0; size < page.size(); ++size) {
    // A copy of exactly this size, so that a read past its end is caught by the sanitizers.
    const std::vector<std::byte> part(page.data(), page.data() + size);
    ASSERT_EQ(StatusCode::kCorrupt, parse_page(part).status().code()) << size;
    ASSERT_FALSE(parse_page_prefix(part).ok()) << size;
  }
  std::vector<std::byte> longer(page.data(), page.data() + page.size());
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_page(longer).ok());
  ASSERT_TRUE(parse_page_prefix(longer).ok());
  EXPECT_EQ(page.size(), parse_page_prefix(longer)->bytes.size());
}

// Whatever the header says, a page that parses can be read whole.
TEST(Page, RandomHeadersNeverReadOutside) {
  std::mt19937_64 random(99);
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    const AlignedBuffer good = make_page(round % 2 == 0 ? "none16" : "turboquant-k4v3", meta_of(1, 16, 1));
    std::vector<std::byte> bytes(good.data(), good.data() + good.size());
    for (uint64_t flips = random() % 4; flips > 0; --flips)
      bytes[random() % kPageHeaderBytes] = static_cast<std::byte>(random());
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    AlignedBuffer page(bytes.size());
    std::copy(bytes.begin(), bytes.end(), page.data());
    const auto view = parse_page(page.span());
    if (!view.ok()) continue;
    const auto codec = codec_for(view->codec);
    if (!codec.ok()) {
      EXPECT_EQ(StatusCode::kUnsupported, codec.status().code());
      continue;
    }
    ++parsed;
    const size_t values = static_cast<size_t>(view->meta.n_tokens * view->meta.n_kv_heads * view->meta.head_dim);
    std::vector<float> k(values), v(values);
    EXPECT_TRUE((*codec)->decode_page(*view, k.data(), v.data()).ok());
  }
  EXPECT_GT(parsed, 1000);
}

TEST(Page, ErrorsNameTheField) {
  const auto error_with = [](size_t offset, auto value) {
    AlignedBuffer page = make_page("turboquant-4", meta_of(5, 64, 1));
    std::memcpy(page.data() + offset, &value, sizeof value);
    return parse_page(page.span()).status().message();
  };
  EXPECT_THAT(error_with(0, uint32_t{1}), HasSubstr("magic"));
  EXPECT_THAT(error_with(4, uint16_t{2}), HasSubstr("layout version is 2"));
  EXPECT_THAT(error_with(12, uint8_t{5}), HasSubstr("key bits is 5"));
  EXPECT_THAT(error_with(13, uint8_t{1}), HasSubstr("value bits is 1"));
  EXPECT_THAT(error_with(14, uint16_t{2}), HasSubstr("flags"));
  EXPECT_THAT(error_with(24, int32_t{-1}), HasSubstr("layer is -1"));
  EXPECT_THAT(error_with(28, int32_t{0x7fffffff}), HasSubstr("KV head count is 2147483647"));
  EXPECT_THAT(error_with(32, int32_t{72}), HasSubstr("head_dim is 72"));
  EXPECT_THAT(error_with(36, int32_t{257}), HasSubstr("token count is 257"));
  EXPECT_THAT(error_with(40, int32_t{-5}), HasSubstr("rotary position is -5"));
  EXPECT_THAT(error_with(44, uint32_t{1}), HasSubstr("reserved"));
  EXPECT_THAT(error_with(48, int64_t{-1}), HasSubstr("first token is -1"));
  EXPECT_THAT(error_with(56, ~uint64_t{0}), HasSubstr("page size"));
  EXPECT_THAT(error_with(80, uint8_t{1}), HasSubstr("reserved"));
  EXPECT_THAT(error_with(0, uint32_t{1}), HasSubstr("rebuilt"));
}

}  // namespace
}  // namespace recalld::quant
