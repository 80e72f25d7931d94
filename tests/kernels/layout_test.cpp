#include "kernels/layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace recalld::kernels {
namespace {

// Codes of a page, drawn at random, are read back where they were set, and fill the side to its last byte.
TEST(Layout, CodesRoundTrip) {
  std::mt19937 random(7);
  for (const int bits : {4, 3, 2}) {
    for (const int head_dim : {64, 80, 96, 128, 256}) {
      for (const int n_tokens : {1, 16, 17, 64, 100, 256}) {
        const int padded = padded_tokens(n_tokens);
        const size_t size = side_bytes(n_tokens, head_dim, bits);
        std::vector<uint8_t> k(size), v(size);
        std::vector<int> codes(static_cast<size_t>(padded) * head_dim);
        for (size_t i = 0; i < codes.size(); ++i) {
          codes[i] = static_cast<int>(random() % (1u << bits));
          const int token = static_cast<int>(i) / head_dim, dim = static_cast<int>(i) % head_dim;
          set_k_code(k.data(), padded, head_dim, bits, token, dim, codes[i]);
          set_v_code(v.data(), padded, head_dim, bits, token, dim, codes[i]);
        }
        int wrong = 0;
        for (size_t i = 0; i < codes.size(); ++i) {
          const int token = static_cast<int>(i) / head_dim, dim = static_cast<int>(i) % head_dim;
          wrong += get_k_code(k.data(), padded, head_dim, bits, token, dim) != codes[i];
          wrong += get_v_code(v.data(), padded, head_dim, bits, token, dim) != codes[i];
        }
        EXPECT_EQ(wrong, 0) << bits << " bits, head_dim " << head_dim << ", " << n_tokens << " tokens";

        std::vector<uint8_t> full(size);
        for (int token = 0; token < padded; ++token)
          for (int dim = 0; dim < head_dim; ++dim)
            set_v_code(full.data(), padded, head_dim, bits, token, dim, (1 << bits) - 1);
        EXPECT_EQ(full, std::vector<uint8_t>(size, 0xff));
      }
    }
  }
}

// The places that the header spells out, worked out by hand.
TEST(Layout, PlacesAreTheDocumentedOnes) {
  const int padded = 32, head_dim = 64;
  const auto set_alone = [&](bool key, int bits, int token, int dim, int code) {
    std::vector<uint8_t> bytes(side_bytes(padded, head_dim, bits));
    (key ? set_k_code : set_v_code)(bytes.data(), padded, head_dim, bits, token, dim, code);
    return bytes;
  };
  // K 4 bits: group 1 begins at byte 16 * 64 / 2; dim 13 = 8 * 1 + 4 + 1 is the high nibble of byte 2 * 4 + 1.
  EXPECT_EQ(set_alone(true, 4, 18, 13, 15)[512 + 64 + 9], 0xf0);
  // K 2 bits: dim 27 = 16 + 4 * 2 + 3, bits 4..5 of byte 5 * 4 + 3 of the second block.
  EXPECT_EQ(set_alone(true, 2, 5, 27, 3)[64 + 23], 0x30);
  // K 3 bits: the high bit of token 5, dim 27: mask 27 / 4 = 6, bit 5 * 4 + 3, after 32 * 64 * 2 / 8 bytes.
  EXPECT_EQ(set_alone(true, 3, 5, 27, 4)[512 + 6 * 8 + 23 / 8], 1 << (23 % 8));
  // V 4 bits: token 21 = 8 * 2 + 4 + 1, dim 35 = 16 * 2 + 3: block 2 * 4 + 2, byte 3 * 4 + 1, high nibble.
  EXPECT_EQ(set_alone(false, 4, 21, 35, 15)[10 * 64 + 13], 0xf0);
  // V 2 bits: token 21 = 16 + 4 + 1: block 1 * 4 + 2, bits 2..3 of byte 13.
  EXPECT_EQ(set_alone(false, 2, 21, 35, 3)[6 * 64 + 13], 0x0c);
  // V 3 bits: token group 21 / 4 = 5, chunk 2: mask 5 * 4 + 2, bit 13.
  EXPECT_EQ(set_alone(false, 3, 21, 35, 4)[512 + 22 * 8 + 1], 1 << 5);
}

// Mean squared error of the codebook on N(0,1), by integration.
double distortion(const Codebook& book) {
  const int n = 1 << book.bits;
  double sum = 0;
  constexpr double kStep = 1e-4;
  for (double x = -8; x < 8; x += kStep) {
    int code = 0;
    while (code + 1 < n && x > static_cast<double>(book.boundaries[code])) ++code;
    const double error = x - static_cast<double>(book.levels[code]) * static_cast<double>(book.unit);
    sum += error * error * std::exp(-x * x / 2) * kStep;
  }
  return sum / std::sqrt(2 * 3.14159265358979);
}

TEST(Layout, LloydMaxIsWithinAFifthOfAPercentOfTheOptimum) {
  // Optima: Max 1960, table I.
  const double optimum[5] = {0, 0, 0.11748, 0.034548, 0.009501};
  for (const int bits : {2, 3, 4}) {
    const Codebook& book = lloyd_max(bits);
    EXPECT_EQ(book.bits, bits);
    EXPECT_NEAR(distortion(book) / optimum[bits], 1.0, 2e-3) << bits;
    const int n = 1 << bits;
    EXPECT_EQ(book.levels[n - 1], 127);
    for (int i = 0; i < n; ++i) EXPECT_EQ(book.levels[i], -book.levels[n - 1 - i]);
    for (int i = 0; i + 1 < n; ++i) {
      EXPECT_LT(book.levels[i], book.levels[i + 1]);
      EXPECT_FLOAT_EQ(book.boundaries[i], 0.5F * book.unit * static_cast<float>(book.levels[i] + book.levels[i + 1]));
    }
  }
  EXPECT_THROW(lloyd_max(5), std::invalid_argument);
}

}  // namespace
}  // namespace recalld::kernels
