#include "quant/rans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace recalld::quant {
namespace {

uint32_t sum_of(const RansTable& table) {
  uint32_t sum = 0;
  for (const auto& range : table.ranges) sum += range.frequency;
  return sum;
}

TEST(RansTable, FrequenciesFollowTheCounts) {
  const RansTable table = RansTable::of_counts(std::vector<uint32_t>{100, 0, 300, 400});
  EXPECT_EQ(kRansScale / 8, table.ranges[0].frequency);
  EXPECT_EQ(0, table.ranges[1].frequency);
  EXPECT_EQ(kRansScale * 3 / 8, table.ranges[2].frequency);
  EXPECT_EQ(kRansScale / 2, table.ranges[3].frequency);
  EXPECT_EQ(4U, table.n_symbols());
  EXPECT_EQ(0, table.symbols[0]);
  EXPECT_EQ(2, table.symbols[kRansScale / 8]);
  EXPECT_EQ(3, table.symbols[kRansScale - 1]);
}

TEST(RansTable, WhatOccursCanBeCodedHoweverRare) {
  std::vector<uint32_t> counts(kRansMaxSymbols, 1);
  counts[5] = 4'000'000'000;
  const RansTable table = RansTable::of_counts(counts);
  EXPECT_EQ(kRansScale, sum_of(table));
  for (const auto& range : table.ranges) EXPECT_GE(range.frequency, 1);
  EXPECT_EQ(kRansScale, sum_of(RansTable::of_counts(std::vector<uint32_t>{0, 7})));
  EXPECT_EQ(kRansScale, sum_of(RansTable::of_counts({})));
}

TEST(RansTable, FrequenciesThatDoNotAddUpAreRefused) {
  const std::vector<uint16_t> low{1000, 1047}, high{2000, 49}, many(65, 1);
  EXPECT_EQ(StatusCode::kCorrupt, RansTable::of_frequencies(low).status().code());
  EXPECT_EQ(StatusCode::kCorrupt, RansTable::of_frequencies(high).status().code());
  EXPECT_EQ(StatusCode::kCorrupt, RansTable::of_frequencies(many).status().code());
  EXPECT_TRUE(RansTable::of_frequencies(std::vector<uint16_t>{1000, 1048}).ok());
}

struct Message {
  std::vector<RansTable> tables;
  std::vector<uint8_t> which, symbols;
  double entropy_bits = 0;
};

// Symbols drawn from the tables' own frequencies.
Message draw(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  Message message;
  for (int i = 0; i < 5; ++i) {
    std::vector<uint32_t> counts(static_cast<size_t>(2 + i * 15));
    for (uint32_t& count : counts) count = random() % 1000 + 1;
    message.tables.push_back(RansTable::of_counts(counts));
  }
  for (size_t i = 0; i < n; ++i) {
    const uint32_t table = random() % 5;
    message.which.push_back(static_cast<uint8_t>(table));
    message.symbols.push_back(message.tables[table].symbols[random() % kRansScale]);
    message.entropy_bits -=
        std::log2(static_cast<double>(message.tables[table].ranges[message.symbols.back()].frequency) / kRansScale);
  }
  return message;
}

TEST(Rans, SymbolsBitsAndRowsComeBackInAnyMixture) {
  for (const size_t n : {0, 1, 2, 3, 4, 5, 17, 4000}) {
    const Message message = draw(n, static_cast<unsigned>(n) + 1);
    RansEncoder encoder;
    for (size_t i = 0; i < n; ++i) {
      encoder.put(message.tables[message.which[i]].ranges[message.symbols[i]]);
      if (i % 64 == 63) encoder.put_bits(static_cast<uint32_t>(i * 2654435761U), static_cast<int>(i / 64 % 11));
    }
    std::vector<std::byte> stream;
    encoder.finish(stream);
    RansDecoder rows(stream), single(stream);
    for (size_t i = 0; i < n; i += 64) {
      uint8_t symbols[64];
      const size_t count = std::min<size_t>(64, n - i);
      const size_t in_rows = count / 4 * 4;
      rows.get_row(message.tables.data(), message.which.data() + i, symbols, static_cast<int>(in_rows));
      for (size_t j = in_rows; j < count; ++j)
        symbols[j] = static_cast<uint8_t>(rows.get(message.tables[message.which[i + j]]));
      for (size_t j = 0; j < count; ++j) {
        ASSERT_EQ(message.symbols[i + j], symbols[j]) << n << " " << i + j;
        ASSERT_EQ(message.symbols[i + j], single.get(message.tables[message.which[i + j]]));
      }
      if (count < 64) continue;
      const auto last = i + 63;
      const int n_bits = static_cast<int>(last / 64 % 11);
      const uint32_t bits = static_cast<uint32_t>(last * 2654435761U) & ((1U << n_bits) - 1);
      ASSERT_EQ(bits, rows.get_bits(n_bits));
      ASSERT_EQ(bits, single.get_bits(n_bits));
    }
    EXPECT_TRUE(rows.finish());
    EXPECT_TRUE(single.finish());
  }
}

TEST(Rans, TakesAsManyBitsAsTheSymbolsSay) {
  const Message message = draw(40'000, 3);
  RansEncoder encoder;
  for (size_t i = 0; i < message.symbols.size(); ++i)
    encoder.put(message.tables[message.which[i]].ranges[message.symbols[i]]);
  std::vector<std::byte> stream;
  encoder.finish(stream);
  EXPECT_LT(static_cast<double>(stream.size()) * 8, message.entropy_bits * 1.001 + 160);
}

TEST(Rans, AStreamThatIsCutOrChangedIsNoticedAndNotReadPast) {
  const Message message = draw(400, 9);
  RansEncoder encoder;
  for (size_t i = 0; i < message.symbols.size(); ++i)
    encoder.put(message.tables[message.which[i]].ranges[message.symbols[i]]);
  std::vector<std::byte> stream;
  encoder.finish(stream);
  const auto read = [&](std::vector<std::byte> bytes) {
    bytes.shrink_to_fit();
    RansDecoder decoder(bytes);
    std::vector<uint8_t> symbols(400);
    decoder.get_row(message.tables.data(), message.which.data(), symbols.data(), 400);
    return decoder.finish();
  };
  EXPECT_TRUE(read(stream));
  for (size_t size = 0; size < stream.size(); size += 7)
    EXPECT_FALSE(read({stream.begin(), stream.begin() + static_cast<ptrdiff_t>(size)})) << size;
  std::vector<std::byte> longer = stream;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(read(longer));
}

}  // namespace
}  // namespace recalld::quant
