#include "quant/archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "quant/codec.h"
#include "quant/none16.h"
#include "tests/quant/chunks.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using ::testing::HasSubstr;
using testing::Kind;
using testing::vectors;

struct Shape {
  int n_tokens = 40, head_dim = 64, n_kv_heads = 3, n_layers = 4;
  int width() const { return n_kv_heads * head_dim; }
  double numbers() const { return 2.0 * n_layers * n_tokens * width(); }
};

// Keys and values of all layers: sides[2 * layer + side].
using Sides = std::vector<std::vector<float>>;

Sides draw(Kind keys, Kind values, const Shape& shape, unsigned seed = 1) {
  Sides sides;
  for (int layer = 0; layer < shape.n_layers; ++layer)
    for (const Kind kind : {keys, values})
      sides.push_back(vectors(kind, shape.n_tokens * shape.n_kv_heads, shape.head_dim, seed++));
  return sides;
}

AlignedBuffer chunk_of(const Sides& sides, const Shape& shape, const std::string& codec_name = "none16") {
  const PageMeta meta = testing::chunk_meta(shape.n_tokens, shape.n_kv_heads, shape.head_dim);
  const std::vector codecs(static_cast<size_t>(shape.n_layers), make_codec(codec_name).value());
  return testing::chunk_of(codecs, meta,
                           [&](size_t layer) { return std::pair(sides[2 * layer], sides[2 * layer + 1]); });
}

Sides rows_of(const AlignedBuffer& chunk) {
  Sides sides;
  for (std::span<const std::byte> left = chunk.span(); !left.empty();) {
    const PageView page = parse_page_prefix(left).value();
    EXPECT_TRUE(verify_page(page.bytes).ok());
    const auto size = static_cast<size_t>(page.meta.n_tokens * page.meta.n_kv_heads * page.meta.head_dim);
    std::vector<float> k(size), v(size);
    EXPECT_TRUE(None16().decode_page(page, k.data(), v.data()).ok());
    sides.push_back(std::move(k));
    sides.push_back(std::move(v));
    left = left.subspan(page.bytes.size());
  }
  return sides;
}

struct Trip {
  double bits = 0;  // per number, of all bytes
  AlignedBuffer back;
  Sides rows;
};

Trip round_trip(const AlignedBuffer& chunk, const Shape& shape, const ArchiveOptions& options = {}) {
  const auto archive = encode_archive(chunk.span(), options);
  EXPECT_TRUE(archive.ok()) << archive.status().to_string();
  const auto info = inspect_archive(*archive);
  EXPECT_TRUE(info.ok()) << info.status().to_string();
  EXPECT_EQ(chunk.size(), info->resident_bytes);
  EXPECT_EQ(shape.n_layers, info->n_pages);
  Trip trip{8.0 * static_cast<double>(archive->size()) / shape.numbers(), AlignedBuffer(chunk.size()), {}};
  std::ranges::fill(trip.back.span(), std::byte{0xA5});
  const Status status = decode_archive(*archive, trip.back.span());
  EXPECT_TRUE(status.ok()) << status.to_string();
  trip.rows = rows_of(trip.back);
  return trip;
}

struct Loss {
  double of_sum = 0, of_rows = 0;  // |x - x^|^2 over |x|^2: sum over sum; mean of the rows' ratios
};

// Of one side: 0 keys, 1 values.
Loss loss(const Sides& x, const Sides& back, size_t side, int head_dim) {
  Loss loss;
  double errors = 0, squares = 0, rows = 0;
  const auto dims = static_cast<size_t>(head_dim);
  for (size_t i = side; i < x.size(); i += 2)
    for (size_t row = 0; row < x[i].size(); row += dims) {
      double error = 0, square = 0;
      for (size_t j = row; j < row + dims; ++j) {
        error += std::pow(static_cast<double>(x[i][j]) - back[i][j], 2);
        square += std::pow(static_cast<double>(x[i][j]), 2);
      }
      errors += error;
      squares += square;
      loss.of_rows += error / square;
      ++rows;
    }
  loss.of_sum = errors / squares;
  loss.of_rows /= rows;
  return loss;
}

// The bound is 3.359 bits per number; 4-bit codes take 4, and 3.77 when they are entropy coded, without their scales.
TEST(Archive, GaussianRowsTakeAtMostThreeAndFortyFiveHundredthsBitsAtTheErrorOfFourBitCodes) {
  for (const Shape& shape : {Shape{64, 64, 3, 30}, Shape{64, 128, 4, 8}, Shape{64, 256, 2, 8}}) {
    const Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape, 100);
    const Trip trip = round_trip(chunk_of(x, shape), shape);
    EXPECT_LE(trip.bits, 3.45) << shape.head_dim;
    EXPECT_GT(trip.bits, 3.359) << shape.head_dim;
    for (const size_t side : {0U, 1U}) {
      const Loss lost = loss(x, trip.rows, side, shape.head_dim);
      EXPECT_LE(lost.of_sum, kLloydMax4Error) << shape.head_dim << " side " << side;
      EXPECT_LE(lost.of_rows, kLloydMax4Error) << shape.head_dim << " side " << side;
    }
  }
}

TEST(Archive, OtherErrorsAreMetNearTheirBoundsToo) {
  const Shape shape{64, 128, 4, 8};
  const Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape, 7);
  for (const double error : {0.002505, 0.034548, 0.117482}) {
    const Trip trip = round_trip(chunk_of(x, shape), shape, {.key_error = error, .value_error = error});
    for (const size_t side : {0U, 1U}) EXPECT_NEAR(error, loss(x, trip.rows, side, 128).of_sum, 0.06 * error);
    EXPECT_LT(trip.bits, 0.5 * std::log2(1 / error) + 0.11) << error;
  }
}

// A step does not care what a row is like; its rate does.
TEST(Archive, NoInputLosesMore) {
  const Shape shape{48, 64, 2, 2};
  for (const Kind kind : {Kind::kConstant, Kind::kWalshRow, Kind::kOneHotNoise, Kind::kStudentT,
                          Kind::kLogNormalChannels, Kind::kBigMean, Kind::kOneSparse}) {
    const Sides x = draw(kind, kind, shape, 11);
    const Trip trip = round_trip(chunk_of(x, shape), shape);
    for (const size_t side : {0U, 1U})
      EXPECT_LT(loss(x, trip.rows, side, 64).of_sum, 1.3 * kLloydMax4Error) << static_cast<int>(kind);
    EXPECT_LT(trip.bits, 7.0) << static_cast<int>(kind);
  }
}

TEST(Archive, WhatDimsHaveInCommonIsNotPaidForEachToken) {
  const Shape shape{64, 64, 3, 8};
  Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape, 13);
  const double plain = round_trip(chunk_of(x, shape), shape).bits;
  // A mean of each dim that is as large as what differs; steps of values grow with it.
  std::mt19937 random(14);
  std::normal_distribution<float> normal;
  for (size_t side = 0; side < x.size(); ++side) {
    std::vector<float> mean(static_cast<size_t>(shape.width()));
    for (float& value : mean) value = 2 * normal(random);
    for (size_t i = 0; i < x[side].size(); ++i) x[side][i] += mean[i % mean.size()];
  }
  EXPECT_LT(round_trip(chunk_of(x, shape), shape).bits, plain + 0.1);
}

TEST(Archive, KeysThatAreAlikeButForTheirPositionsAreCheaper) {
  const Shape shape{64, 64, 3, 4};
  Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape, 15);
  kernels::RopeSpec rope{64, false, std::vector<float>(32)};
  for (size_t i = 0; i < 32; ++i) rope.inv_freq[i] = std::pow(1e4F, -static_cast<float>(i) / 32);
  std::mt19937 random(16);
  std::normal_distribution<float> normal;
  for (size_t side = 0; side < x.size(); side += 2) {
    std::vector<float> mean(static_cast<size_t>(shape.width()));
    for (float& value : mean) value = 3 * normal(random);
    for (int t = 0; t < shape.n_tokens; ++t) {
      float* row = x[side].data() + t * shape.width();
      for (size_t i = 0; i < mean.size(); ++i) row[i] += mean[i];
      kernels::RopeShift(rope, 17 + t).rotate(shape.n_kv_heads, 64, row, 64, row);
    }
  }
  const AlignedBuffer chunk = chunk_of(x, shape);
  const Trip without = round_trip(chunk, shape), with = round_trip(chunk, shape, {.rope = rope});
  EXPECT_LT(with.bits, without.bits - 0.1);
  EXPECT_NEAR(loss(x, without.rows, 0, 64).of_sum, loss(x, with.rows, 0, 64).of_sum, 5e-4);
}

TEST(Archive, HeadersComeBackAndTheResultIsTheSameEachTime) {
  for (const int tokens : {1, 2, 33, 256})
    for (const int dims : {16, 80, 256}) {
      const Shape shape{tokens, dims, 2, 2};
      const AlignedBuffer chunk = chunk_of(draw(Kind::kBigMean, Kind::kGaussian, shape), shape);
      const Trip first = round_trip(chunk, shape), second = round_trip(chunk, shape);
      ASSERT_EQ(0, std::memcmp(first.back.data(), second.back.data(), chunk.size()));
      for (size_t at = 0; at < chunk.size();) {
        const PageView was = parse_page_prefix(chunk.span().subspan(at)).value(),
                       is = parse_page_prefix(first.back.span().subspan(at)).value();
        // All but the checksum, which is over the numbers.
        ASSERT_EQ(0, std::memcmp(was.bytes.data(), is.bytes.data(), kPageHeaderBytes - 8));
        at += was.bytes.size();
      }
    }
}

TEST(Archive, OddRowsComeBackAsDefined) {
  const Shape shape{20, 32, 2, 2};
  Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape, 17);
  for (size_t side = 0; side < x.size(); ++side) {
    std::fill_n(x[side].begin() + 32, 64, 0.0F);  // head 1 of token 0, head 0 of token 1
    x[side][200] = 60'000;
  }
  std::ranges::fill(x[2], 0.0F);
  AlignedBuffer chunk = chunk_of(x, shape);
  const Trip trip = round_trip(chunk, shape);
  for (size_t side = 0; side < x.size(); ++side)
    for (size_t i = 32; i < 96; ++i) ASSERT_EQ(0, trip.rows[side][i]) << side;
  for (const float value : trip.rows[2]) ASSERT_EQ(0, value);
  EXPECT_NEAR(60'000, trip.rows[0][200], 3'000);

  // Pages of other hands may hold any halves.
  const PageView page = parse_page_prefix(chunk.span()).value();
  const PageSections at = page_sections(page.codec, page.meta, 0, chunk.span().first(page.bytes.size()));
  auto* halves = reinterpret_cast<uint16_t*>(at.v);
  halves[0] = 0x7C00;
  halves[1] = 0xFC00;
  halves[2] = 0x7E01;
  write_page_header(page.codec, page.meta, chunk.span().first(page.bytes.size()));
  const Trip safe = round_trip(chunk, shape);
  for (const auto& side : safe.rows)
    for (const float value : side) ASSERT_TRUE(std::isfinite(value));
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(std::abs(safe.rows[1][i]), 1.0F);
}

TEST(Archive, WhatIsNoChunkOfHalvesIsNotTaken) {
  const Shape shape{16, 64, 1, 1};
  const Sides x = draw(Kind::kGaussian, Kind::kGaussian, shape);
  EXPECT_EQ(StatusCode::kInvalidArgument, encode_archive({}).status().code());
  EXPECT_EQ(StatusCode::kCorrupt, encode_archive(AlignedBuffer(4096).span()).status().code());
  EXPECT_EQ(StatusCode::kInvalidArgument, encode_archive(chunk_of(x, shape, "turboquant-4").span()).status().code());
  const AlignedBuffer chunk = chunk_of(x, shape);
  for (const double error : {0.0, 0.6, std::numeric_limits<double>::quiet_NaN()})
    EXPECT_EQ(StatusCode::kInvalidArgument, encode_archive(chunk.span(), {.key_error = error}).status().code());
  kernels::RopeSpec rope{64, false, std::vector<float>(3)};
  EXPECT_EQ(StatusCode::kInvalidArgument, encode_archive(chunk.span(), {.rope = rope}).status().code());
}

}  // namespace
}  // namespace recalld::quant
