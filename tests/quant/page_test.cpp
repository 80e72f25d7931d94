#include "quant/page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "quant/codec.h"
#include "tests/kernels/test_page.h"
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
  // Header and halves, then codes from a multiple of 64 on: 96 + 3 * (2 * 128 + 128) = 1248.
  EXPECT_EQ(1280u + 3 * (2 * 64 * 32), bytes("turboquant-4", 3, 64, 64));
  EXPECT_EQ(896u + 3 * (2 * 64 * 32), bytes("turboquant-4-plain", 3, 64, 64));
  EXPECT_EQ(1280u + 3 * (64 * 32 + 64 * 24), bytes("turboquant-k4v3", 3, 64, 64));
  // One token is padded to a group of 16: 96 + 2 * 32 + 160 = 320.
  EXPECT_EQ(320u + 2 * (16 * 80 * 2 / 8), bytes("turboquant-2", 1, 80, 1));
  // 16 * 80 * 3 / 8 = 480 bytes of codes, padded to 512.
  EXPECT_EQ(320u + 2 * 512, bytes("turboquant-3", 1, 80, 1));
}

// Tags of every kind of side that no codec of the list has.
std::vector<CodecTag> other_tags(int head_dim) {
  std::vector<CodecTag> tags;
  const std::vector<kernels::SideFormat> formats = kernels::other_formats(head_dim);
  for (size_t i = 0; i < formats.size(); ++i) {
    CodecTag tag;
    tag.id = 77;
    tag.k = formats[i];
    tag.v = formats[(i + 3) % formats.size()];
    tag.flags = i % 2 == 0 ? kFlagCentred : 0;
    tag.parameter = 0x0123456789abcdefu + i;
    tags.push_back(tag);
  }
  return tags;
}

TEST(Page, EveryFormatComesBack) {
  for (const int head_dim : {64, 80, 256}) {
    for (const CodecTag& tag : other_tags(head_dim)) {
      const PageMeta meta = meta_of(37, head_dim);
      AlignedBuffer page(page_bytes(tag, meta.n_kv_heads, head_dim, meta.n_tokens));
      ASSERT_TRUE(check_page(tag, meta, page.size()).ok()) << check_page(tag, meta, page.size()).to_string();
      write_page_header(tag, meta, page.span());
      const auto view = verify_page(page.span());
      ASSERT_TRUE(view.ok()) << view.status().to_string();
      EXPECT_EQ(tag, view->codec) << describe(tag.k) << " and " << describe(tag.v);
    }
  }
}

// Sections end where the next begin, and all bytes but the padding belong to one.
TEST(Page, SectionsAreAlignedInsideAndApart) {
  for (const int head_dim : {64, 80, 96}) {
    std::vector<CodecTag> tags = other_tags(head_dim);
    for (const std::string& name : codec_names()) tags.push_back(make_codec(name).value()->tag());
    for (const CodecTag& tag : tags) {
      for (const int n : {1, 17, 256}) {
        SCOPED_TRACE(describe(tag.k) + " and " + describe(tag.v) + ", " + std::to_string(n) + " tokens");
        const PageMeta meta = meta_of(n, head_dim, 3);
        AlignedBuffer page(page_bytes(tag, 3, head_dim, n));
        write_page_header(tag, meta, page.span());
        const PageView view = parse_page(page.span()).value();
        const size_t row = static_cast<size_t>(kernels::padded_tokens(n)) * 2;
        std::map<const void*, size_t> sections;
        for (int head = 0; head < 3; ++head) {
          const kernels::PageSlice slice = view.slice(head);
          const PageSections to = page_sections(tag, meta, head, page.span());
          EXPECT_EQ(slice.k_format, kernels::resolve(tag.k, head_dim));
          EXPECT_EQ(slice.v_format, kernels::resolve(tag.v, head_dim));
          EXPECT_TRUE(slice.k == to.k && slice.k_scale == to.k_scale && slice.k_offset == to.k_offset &&
                      slice.k_mean == to.k_mean && slice.v == to.v && slice.v_scale == to.v_scale &&
                      slice.v_offset == to.v_offset);
          EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(slice.k) % 64);
          EXPECT_EQ(0u, reinterpret_cast<uintptr_t>(slice.v) % 64);
          EXPECT_EQ(tag.k.halves(), slice.k_scale == nullptr);
          EXPECT_EQ(tag.v.halves(), slice.v_scale == nullptr);
          EXPECT_EQ(tag.k.offsets, slice.k_offset != nullptr);
          EXPECT_EQ(tag.v.offsets, slice.v_offset != nullptr);
          EXPECT_EQ((tag.flags & kFlagCentred) != 0, slice.k_mean != nullptr);
          sections[slice.k] = kernels::side_bytes(n, head_dim, slice.k_format);
          sections[slice.v] = kernels::side_bytes(n, head_dim, slice.v_format);
          sections[slice.k_scale] = row / 2 * static_cast<size_t>(tag.k.n_scales() * tag.k.scale_bytes());
          sections[slice.v_scale] = row / 2 * static_cast<size_t>(tag.v.n_scales() * tag.v.scale_bytes());
          sections[slice.k_offset] = sections[slice.v_offset] = row;
          sections[slice.k_mean] = static_cast<size_t>(head_dim) * 2;
        }
        sections.erase(nullptr);
        const std::byte* end = page.data() + kPageHeaderBytes;
        for (const auto& [begin, size] : sections) {
          EXPECT_GE(begin, end);
          EXPECT_LT(static_cast<const std::byte*>(begin), end + 64);
          end = static_cast<const std::byte*>(begin) + size;
        }
        EXPECT_LE(end, page.data() + page.size());
        EXPECT_GT(end + 64, page.data() + page.size());
        EXPECT_EQ(0u, page.size() % 64);
      }
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
  EXPECT_THAT(error_with(4, uint16_t{1}), HasSubstr("layout version is 1, expected 2; it must be rebuilt"));
  EXPECT_THAT(error_with(4, uint16_t{3}), HasSubstr("layout version is 3"));
  EXPECT_THAT(error_with(6, uint16_t{128}), HasSubstr("header size is 128"));
  EXPECT_THAT(error_with(8, uint16_t{0}), HasSubstr("codec id is 0"));
  EXPECT_THAT(error_with(10, uint16_t{0}), HasSubstr("codec version is 0"));
  EXPECT_THAT(error_with(12, uint8_t{128}), HasSubstr("form of keys is 128"));
  EXPECT_THAT(error_with(13, uint8_t{0x80}), HasSubstr("form of values is 128"));
  EXPECT_THAT(error_with(12, uint8_t{3}), HasSubstr("format of keys: grid is 3"));
  EXPECT_THAT(error_with(12, uint8_t{0x10}), HasSubstr("format of keys: scales per band"));
  EXPECT_THAT(error_with(13, uint8_t{0x20}), HasSubstr("format of values: offsets"));
  EXPECT_THAT(error_with(14, uint16_t{2}), HasSubstr("flags"));
  EXPECT_THAT(error_with(16, uint8_t{5}), HasSubstr("format of keys: bits of band 1 are 5"));
  EXPECT_THAT(error_with(24, uint8_t{1}), HasSubstr("format of values: bits of band 1 are 1"));
  EXPECT_THAT(error_with(17, uint8_t{5}), HasSubstr("format of keys: dims of band 1 go beyond head_dim 64"));
  EXPECT_THAT(error_with(17, uint8_t{3}), HasSubstr("format of keys: dims of the bands add up to 48, expected 64"));
  EXPECT_THAT(error_with(18, uint8_t{2}), HasSubstr("format of keys: dims of band 1 are 0"));
  EXPECT_THAT(error_with(29, uint8_t{2}), HasSubstr("format of values: dims of band 1 are 0"));
  EXPECT_THAT(error_with(16, uint16_t{0}), HasSubstr("flags is 1, expected 0 with 16-bit keys"));
  EXPECT_THAT(error_with(42, uint16_t{0}), HasSubstr("KV head count is 0"));
  EXPECT_THAT(error_with(42, uint16_t{5000}), HasSubstr("KV head count is 5000"));
  EXPECT_THAT(error_with(44, uint16_t{72}), HasSubstr("head_dim is 72"));
  EXPECT_THAT(error_with(46, uint16_t{257}), HasSubstr("token count is 257"));
  EXPECT_THAT(error_with(48, int32_t{-5}), HasSubstr("rotary position is -5"));
  EXPECT_THAT(error_with(52, ~uint32_t{0}), HasSubstr("page size"));
  EXPECT_THAT(error_with(56, int64_t{-1}), HasSubstr("first token is -1"));
  EXPECT_THAT(error_with(80, uint8_t{1}), HasSubstr("reserved"));
  EXPECT_THAT(error_with(0, uint32_t{1}), HasSubstr("rebuilt"));
}

TEST(Page, WhatAHeaderCannotHoldIsRefused) {
  const CodecTag tag = make_codec("turboquant-4").value()->tag();
  const auto error_of = [](const CodecTag& codec, const PageMeta& meta) {
    return check_page(codec, meta, 0).message();
  };
  PageMeta meta = meta_of(5, 64);
  meta.layer = 65536;
  EXPECT_THAT(error_of(tag, meta), HasSubstr("layer is 65536"));
  meta.layer = -1;
  EXPECT_THAT(error_of(tag, meta), HasSubstr("layer is -1"));
  meta = meta_of(5, 64);
  meta.n_kv_heads = 65537;
  EXPECT_THAT(error_of(tag, meta), HasSubstr("KV head count is 65537"));
  meta = meta_of(65536 + 5, 64);
  EXPECT_THAT(error_of(tag, meta), HasSubstr("token count is 65541"));
  CodecTag wide = tag;
  wide.k = kernels::one_band(4, 64);
  EXPECT_THAT(error_of(wide, meta_of(5, 80)), HasSubstr("format of keys: dims of the bands add up to 64, expected 80"));
}

}  // namespace
}  // namespace recalld::quant
