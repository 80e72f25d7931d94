#include "quant/rest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "quant/codec.h"
#include "tests/quant/chunks.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using testing::chunk_of;
using testing::fix_chunk_checksum;
using ::testing::HasSubstr;
using testing::Kind;
using testing::vectors;

struct Shape {
  int n_tokens = 40, head_dim = 64, n_kv_heads = 3, n_layers = 4;
};

// Pages of all layers; layer i is coded by codecs[i mod their number].
AlignedBuffer make_chunk(const std::vector<std::string>& codecs, const Shape& shape, unsigned seed = 1) {
  std::vector<std::shared_ptr<const Codec>> of_layer;
  for (int layer = 0; layer < shape.n_layers; ++layer)
    of_layer.push_back(make_codec(codecs[static_cast<size_t>(layer) % codecs.size()]).value());
  const PageMeta meta = testing::chunk_meta(shape.n_tokens, shape.n_kv_heads, shape.head_dim);
  return chunk_of(of_layer, meta, [&](size_t) {
    const int width = shape.n_kv_heads * shape.head_dim;
    auto k = vectors(Kind::kBigMean, shape.n_tokens, width, seed++);
    return std::pair(std::move(k), vectors(Kind::kGaussian, shape.n_tokens, width, seed++));
  });
}

// What comes back; nothing when it is not what went in.
std::vector<std::byte> round_trip(const AlignedBuffer& chunk, bool* coded = nullptr) {
  const auto encoded = encode_rest(chunk.span());
  if (!encoded.ok()) {
    ADD_FAILURE() << encoded.status().to_string();
    return {};
  }
  const auto info = inspect_rest(*encoded);
  EXPECT_TRUE(info.ok()) << info.status().to_string();
  EXPECT_EQ(chunk.size(), info->resident_bytes);
  if (coded != nullptr) *coded = info->coded;
  AlignedBuffer back(chunk.size());
  std::ranges::fill(back.span(), std::byte{0xA5});
  const Status decoded = decode_rest(*encoded, back.span());
  EXPECT_TRUE(decoded.ok()) << decoded.to_string();
  EXPECT_EQ(0, std::memcmp(chunk.data(), back.data(), chunk.size()));
  return *encoded;
}

TEST(Rest, EveryCodecsPagesComeBackToTheBit) {
  for (const std::string& name : codec_names())
    for (const int tokens : {1, 7, 16, 24, 40, 256}) {
      bool coded = false;
      const AlignedBuffer chunk = make_chunk({name}, {.n_tokens = tokens, .n_layers = 3});
      const auto encoded = round_trip(chunk, &coded);
      EXPECT_TRUE(coded || tokens < 7) << name << " " << tokens;
      EXPECT_LE(encoded.size(), chunk.size() + 40) << name;
    }
}

TEST(Rest, EveryHeadDimComesBack) {
  for (const std::string name : {"none16", "turboquant-4", "turboquant-k3v2", "trellis-4", "trellis-k3v2"})
    for (const int dims : {16, 48, 80, 96, 128, 256})
      round_trip(make_chunk({name}, {.head_dim = dims, .n_kv_heads = 1}));
}

TEST(Rest, LayersOfDifferentCodecsComeBack) {
  round_trip(make_chunk({"none16", "turboquant-4", "turboquant-k3v2", "turboquant-2-plain"}, {.n_layers = 9}));
}

// One page of any formats, with codes and halves drawn by chance.
AlignedBuffer random_page(const CodecTag& codec, int n_tokens, int head_dim, unsigned seed) {
  std::mt19937 random(seed);
  PageMeta meta;
  meta.n_kv_heads = 2;
  meta.head_dim = head_dim;
  meta.n_tokens = n_tokens;
  AlignedBuffer page(page_bytes(codec, meta.n_kv_heads, head_dim, n_tokens));
  const int padded = kernels::padded_tokens(n_tokens);
  const auto fill = [&](bool keys, const kernels::SideFormat& format, uint8_t* codes, uint8_t* scales,
                        uint16_t* offsets) {
    for (int row = 0; row < format.n_scales(); ++row)
      for (int t = 0; t < n_tokens * format.scale_bytes(); ++t)
        scales[row * padded * format.scale_bytes() + t] = static_cast<uint8_t>(random());
    for (int t = 0; offsets != nullptr && t < n_tokens; ++t) offsets[t] = static_cast<uint16_t>(random());
    for (int band = 0, dim = 0; band < format.stored_bands(); ++band)
      for (const int end = dim + format.bands[band].n_dims; dim < end; ++dim)
        for (int t = 0; t < n_tokens; ++t)
          (keys ? kernels::set_k_code : kernels::set_v_code)(
              codes, padded, format, t, dim, static_cast<int>(random() % (1U << format.bands[band].bits)));
  };
  for (int head = 0; head < meta.n_kv_heads; ++head) {
    const PageSections to = page_sections(codec, meta, head, page.span());
    fill(true, kernels::resolve(codec.k, head_dim), to.k, to.k_scale, to.k_offset);
    fill(false, kernels::resolve(codec.v, head_dim), to.v, to.v_scale, to.v_offset);
    for (int j = 0; to.k_mean != nullptr && j < head_dim; ++j) to.k_mean[j] = static_cast<uint16_t>(random());
  }
  write_page_header(codec, meta, page.span());
  return page;
}

TEST(Rest, BandsGridsAndOffsetsComeBack) {
  kernels::SideFormat bands;
  bands.n_bands = 3;
  bands.bands[0] = {4, 16};
  bands.bands[1] = {2, 32};
  bands.bands[2] = {0, 16};
  kernels::SideFormat split = kernels::one_band(3, 16);
  split.n_bands = 2;
  split.bands[1] = {2, 48};
  split.scale_per_band = true;
  kernels::SideFormat bytes = split;
  bytes.byte_scales = true;
  const std::vector<kernels::SideFormat> formats{
      bands, split, bytes, kernels::affine_band(2), kernels::affine_band(4), kernels::one_band(16)};
  unsigned seed = 0;
  for (const auto& k : formats)
    for (const auto& v : formats)
      for (const int tokens : {1, 33, 256}) {
        CodecTag codec{.id = 9, .k = k, .v = v, .flags = k.halves() ? uint16_t{0} : kFlagCentred};
        round_trip(random_page(codec, tokens, 64, ++seed));
      }
}

TEST(Rest, GaussianCodesTakeTheirEntropy) {
  // Of independent rows: no context helps, and centred keys have no mean to speak of.
  const Shape shape{.n_tokens = 256, .head_dim = 128, .n_kv_heads = 4, .n_layers = 4};
  const double numbers = 2.0 * shape.n_tokens * shape.head_dim * shape.n_kv_heads * shape.n_layers;
  const struct {
    const char* name;
    double bits;  // Lloyd-Max entropies 1.911, 2.825, 3.765 of keys and values, scales and means at 13 bits
  } cases[] = {{"turboquant-2-plain", 1.911}, {"turboquant-3-plain", 2.825}, {"turboquant-4-plain", 3.765}};
  for (const auto& [name, bits] : cases) {
    const auto encoded = round_trip(make_chunk({name}, shape));
    EXPECT_LT(static_cast<double>(encoded.size()) * 8 / numbers, bits + 13.0 / shape.head_dim + 0.02) << name;
  }
}

TEST(Rest, IsSmallerThanThePages) {
  const auto of = [](const char* name) {
    const AlignedBuffer chunk = make_chunk({name}, {.n_tokens = 40, .n_layers = 30});
    return static_cast<double>(round_trip(chunk).size()) / static_cast<double>(chunk.size());
  };
  EXPECT_LT(of("turboquant-k3v2"), 0.85);
  EXPECT_LT(of("turboquant-4"), 0.90);
  EXPECT_LT(of("none16"), 0.90);
}

TEST(Rest, PagesThatWouldNotComeBackAreKeptAsTheyAre) {
  AlignedBuffer chunk = make_chunk({"turboquant-4"}, {.n_tokens = 17, .n_layers = 2});
  // A code of a padding token, under a checksum that is right.
  const auto page = parse_page_prefix(chunk.span());
  ASSERT_TRUE(page.ok());
  const std::span<std::byte> bytes = chunk.span().first(page->bytes.size());
  const auto slice = page->slice(0);
  const size_t last_key = static_cast<size_t>(reinterpret_cast<const std::byte*>(slice.k) - bytes.data()) +
                          kernels::side_bytes(17, 64, 4) - 1;
  bytes[last_key] = std::byte{0x11};
  write_page_header(page->codec, page->meta, bytes);
  bool coded = true;
  round_trip(chunk, &coded);
  EXPECT_FALSE(coded);
}

TEST(Rest, WhatIsNoChunkIsNotEncoded) {
  EXPECT_EQ(StatusCode::kInvalidArgument, encode_rest({}).status().code());
  AlignedBuffer zeros(4096);
  EXPECT_EQ(StatusCode::kCorrupt, encode_rest(zeros.span()).status().code());
}

TEST(Rest, DamageIsNamed) {
  const AlignedBuffer chunk = make_chunk({"turboquant-k3v2"}, {});
  const auto encoded = encode_rest(chunk.span()).value();
  AlignedBuffer back(chunk.size());
  const auto message = [&](std::vector<std::byte> bytes, bool fix = true) {
    if (fix) fix_chunk_checksum(bytes);
    const Status status = decode_rest(bytes, back.span());
    EXPECT_FALSE(status.ok());
    return status.message();
  };
  const auto with = [&](size_t at, int value) {
    std::vector<std::byte> bytes = encoded;
    bytes[at] = static_cast<std::byte>(value);
    return bytes;
  };
  EXPECT_THAT(message(with(0, 1), false), HasSubstr("magic"));
  EXPECT_THAT(message(with(4, 2), false), HasSubstr("version is 2"));
  EXPECT_THAT(message(with(encoded.size() - 1, 0xA5), false), HasSubstr("checksum"));
  EXPECT_THAT(message(with(28, 2)), HasSubstr("form is 2"));
  EXPECT_THAT(message(with(26, 255)), HasSubstr("page count"));
  EXPECT_THAT(message(with(32, static_cast<int>(encoded[32]) ^ 1)), HasSubstr("checksum over them"));
  EXPECT_THAT(message(with(44, 9)), HasSubstr("mark of a page is 9"));
  EXPECT_THAT(message({encoded.begin(), encoded.begin() + 20}, false), HasSubstr("less than a header"));
  EXPECT_THAT(message({encoded.begin(), encoded.begin() + 60}), HasSubstr("end early"));
  EXPECT_THAT(message({encoded.begin(), encoded.end() - 2}), HasSubstr("do not add up"));
  std::vector<std::byte> fewer = encoded;
  fewer[17] ^= std::byte{1};
  EXPECT_EQ(StatusCode::kInvalidArgument, decode_rest(fewer, back.span()).code() == StatusCode::kCorrupt
                                              ? StatusCode::kInvalidArgument
                                              : StatusCode::kOk);
  AlignedBuffer small(64);
  EXPECT_EQ(StatusCode::kInvalidArgument, decode_rest(encoded, small.span()).code());
}

// Anything behind a right checksum: refused, or decoded to something, but never out of bounds (for the sanitizers).
TEST(Rest, NoBytesLeadOutOfBounds) {
  std::mt19937 random(12);
  for (const char* name : {"turboquant-k3v2", "turboquant-4", "none16", "trellis-k4v3"}) {
    const AlignedBuffer chunk = make_chunk({name}, {.n_tokens = 19, .head_dim = 32, .n_kv_heads = 1, .n_layers = 3});
    const auto encoded = encode_rest(chunk.span()).value();
    AlignedBuffer back(chunk.size());
    int refused = 0;
    constexpr int kMutations = 4000;
    for (int i = 0; i < kMutations; ++i) {
      std::vector<std::byte> bytes = encoded;
      // Headers and tables are a small part of the bytes and deserve half of the changes.
      const size_t range = random() % 2 == 0 ? std::min<size_t>(bytes.size(), 400) : bytes.size();
      const int changes = static_cast<int>(random() % 4) + 1;
      for (int j = 0; j < changes; ++j) bytes[16 + random() % (range - 16)] = static_cast<std::byte>(random());
      if (random() % 8 == 0) bytes.resize(16 + random() % (bytes.size() - 16));
      // Sizes are checked first; leave them right most of the time.
      if (random() % 16 != 0 && bytes.size() >= 24) std::memcpy(bytes.data() + 16, encoded.data() + 16, 8);
      bytes.shrink_to_fit();
      fix_chunk_checksum(bytes);
      const Status status = decode_rest(bytes, back.span());
      if (status.ok())
        EXPECT_EQ(0, std::memcmp(chunk.data(), back.data(), chunk.size())) << i;
      else
        ++refused;
    }
    EXPECT_GT(refused, kMutations * 9 / 10) << name;
  }
}

}  // namespace
}  // namespace recalld::quant
