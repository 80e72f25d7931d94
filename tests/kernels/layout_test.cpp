#include "kernels/layout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/kernels/test_page.h"

namespace recalld::kernels {
namespace {

// Codes of a page, drawn at random, are read back where they were set, and fill the side to its last byte.
TEST(Layout, CodesRoundTrip) {
  std::mt19937 random(7);
  for (const int bits : {4, 3, 2}) {
    for (const int head_dim : {64, 80, 96, 128, 256}) {
      for (const int n_tokens : {1, 16, 17, 64, 100, 256}) {
        const int padded = padded_tokens(n_tokens);
        const SideFormat format = one_band(bits, head_dim);
        const size_t size = side_bytes(n_tokens, head_dim, bits);
        std::vector<uint8_t> k(size), v(size);
        std::vector<int> codes(static_cast<size_t>(padded) * head_dim);
        for (size_t i = 0; i < codes.size(); ++i) {
          codes[i] = static_cast<int>(random() % (1u << bits));
          const int token = static_cast<int>(i) / head_dim, dim = static_cast<int>(i) % head_dim;
          set_k_code(k.data(), padded, format, token, dim, codes[i]);
          set_v_code(v.data(), padded, format, token, dim, codes[i]);
        }
        int wrong = 0;
        for (size_t i = 0; i < codes.size(); ++i) {
          const int token = static_cast<int>(i) / head_dim, dim = static_cast<int>(i) % head_dim;
          wrong += get_k_code(k.data(), padded, format, token, dim) != codes[i];
          wrong += get_v_code(v.data(), padded, format, token, dim) != codes[i];
        }
        EXPECT_EQ(wrong, 0) << bits << " bits, head_dim " << head_dim << ", " << n_tokens << " tokens";

        std::vector<uint8_t> full(size);
        for (int token = 0; token < padded; ++token)
          for (int dim = 0; dim < head_dim; ++dim) set_v_code(full.data(), padded, format, token, dim, (1 << bits) - 1);
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
    (key ? set_k_code : set_v_code)(bytes.data(), padded, one_band(bits, head_dim), token, dim, code);
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

// Each band is a side of its own dims, one behind the other.
TEST(Layout, BandsAreSidesOneBehindTheOther) {
  std::mt19937 random(8);
  for (const int head_dim : {64, 80, 256}) {
    for (const SideFormat& unresolved : other_formats(head_dim)) {
      const SideFormat format = resolve(unresolved, head_dim);
      for (const int n_tokens : {1, 17, 64}) {
        const int padded = padded_tokens(n_tokens);
        std::vector<uint8_t> k(side_bytes(n_tokens, head_dim, format)), v(k.size());
        std::vector<uint8_t> k_apart, v_apart;
        int first = 0;
        for (int band = 0; band < format.stored_bands(); ++band) {
          const auto [bits, n_dims] = format.bands[band];
          std::vector<uint8_t> k_band(side_bytes(n_tokens, n_dims, bits)), v_band(k_band.size());
          for (int token = 0; token < n_tokens; ++token) {
            for (int dim = 0; dim < n_dims; ++dim) {
              const int code = static_cast<int>(random() % (1u << bits));
              set_k_code(k_band.data(), padded, one_band(bits, n_dims), token, dim, code);
              set_v_code(v_band.data(), padded, one_band(bits, n_dims), token, dim, code);
              set_k_code(k.data(), padded, format, token, first + dim, code);
              set_v_code(v.data(), padded, format, token, first + dim, code);
              ASSERT_EQ(get_k_code(k.data(), padded, format, token, first + dim), code);
              ASSERT_EQ(get_v_code(v.data(), padded, format, token, first + dim), code);
            }
          }
          EXPECT_EQ(band_place(format, n_tokens, band).code_offset, k_apart.size());
          k_apart.insert(k_apart.end(), k_band.begin(), k_band.end());
          v_apart.insert(v_apart.end(), v_band.begin(), v_band.end());
          first += n_dims;
        }
        EXPECT_EQ(k, k_apart) << format_name(format) << " " << n_tokens;
        EXPECT_EQ(v, v_apart) << format_name(format) << " " << n_tokens;
        EXPECT_EQ(first, stored_dims(format));
      }
    }
  }
}

SideFormat of_bands(std::initializer_list<Band> bands) {
  SideFormat format;
  for (const Band& band : bands) format.bands[format.n_bands++] = band;
  return format;
}

TEST(Layout, FormatsThatCannotBeAreNamed) {
  EXPECT_EQ(format_error(one_band(16), 64), "");
  EXPECT_EQ(format_error(one_band(4), 64), "");
  EXPECT_EQ(format_error(one_band(4, 64), 64), "");
  EXPECT_EQ(format_error(affine_band(2), 64), "");
  for (const int head_dim : {64, 80, 96, 128, 256})
    for (const SideFormat& format : other_formats(head_dim)) EXPECT_EQ(format_error(format, head_dim), "");
  EXPECT_EQ(format_error(of_bands({{4, 16}, {2, kAllDims}}), 64), "");

  EXPECT_EQ(format_error(one_band(5), 64), "bits of band 1 are 5, expected 4, 3 or 2");
  EXPECT_EQ(format_error(one_band(0, 64), 64), "bits of band 1 are 0, expected 4, 3 or 2");
  EXPECT_EQ(format_error(of_bands({{4, 16}, {0, 16}, {2, 32}}), 64), "bits of band 2 are 0, expected 4, 3 or 2");
  EXPECT_EQ(format_error(of_bands({{4, 16}, {1, 48}}), 64),
            "bits of band 2 are 1, expected 4, 3 or 2, or 0 for a band that is not stored");
  EXPECT_EQ(format_error(of_bands({{4, 24}, {2, 40}}), 64), "dims of band 1 are 24, expected a multiple of 16");
  EXPECT_EQ(format_error(of_bands({{4, kAllDims}, {2, 32}}), 64), "dims of band 1 are 0, expected a multiple of 16");
  EXPECT_EQ(format_error(of_bands({{4, 32}, {0, kAllDims}}), 64), "dims of band 2 are 0, expected a multiple of 16");
  EXPECT_EQ(format_error(of_bands({{4, 64}, {2, kAllDims}}), 64), "dims of band 2 go beyond head_dim 64");
  EXPECT_EQ(format_error(one_band(4, 80), 64), "dims of band 1 go beyond head_dim 64");
  EXPECT_EQ(format_error(of_bands({{4, 16}, {2, 32}}), 64), "dims of the bands add up to 48, expected 64");
  SideFormat format = one_band(4);
  format.n_bands = 5;
  EXPECT_EQ(format_error(format, 64), "number of bands is 5, expected 0..4");
  format.n_bands = 0;
  EXPECT_EQ(format_error(format, 64), "band 1 stands after the last");
  format = affine_band(4);
  format.grid = Grid::kLloydMax;
  EXPECT_EQ(format_error(format, 64), "offsets stand without the uniform grid");
  format = of_bands({{4, 32}, {2, 32}});
  format.grid = Grid::kUniform;
  EXPECT_EQ(format_error(format, 64), "the uniform grid has 2 bands, expected 1");
  format = of_bands({{4, 32}, {0, 32}});
  format.scale_per_band = true;
  EXPECT_EQ(format_error(format, 64), "scales per band stand with fewer than 2 stored bands");
  format = affine_band(2);
  format.byte_scales = true;
  EXPECT_EQ(format_error(format, 64), "scales of 8 bits stand without codes of the Lloyd-Max grid or the trellis");
  format = one_band(16);
  format.byte_scales = true;
  EXPECT_EQ(format_error(format, 64), "scales of 8 bits stand without codes of the Lloyd-Max grid or the trellis");
  format = one_band(16);
  format.grid = static_cast<Grid>(3);
  EXPECT_EQ(format_error(format, 64), "grid is 3, expected 0, 1 or 2");
}

TEST(Layout, ScaleBytesAreTheNearest) {
  EXPECT_EQ(0, half_of_scale_byte(0));
  for (int scale = 1; scale < 256; ++scale)
    EXPECT_EQ(scale, scale_byte_of_half(half_of_scale_byte(static_cast<uint8_t>(scale))));
  EXPECT_EQ(17.0F / 16 / 256, half_to_float(half_of_scale_byte(1)));
  EXPECT_EQ(248.0F, half_to_float(half_of_scale_byte(255)));
  int before = 0;
  for (uint16_t half = 1; half < 0x7c00; ++half) {
    const int scale = scale_byte_of_half(half);
    ASSERT_GE(scale, std::max(before, 1));
    before = scale;
    const float value = half_to_float(half), back = half_to_float(half_of_scale_byte(static_cast<uint8_t>(scale)));
    if (value >= 17.0F / 16 / 256 && value <= 248) {
      ASSERT_LE(std::fabs(back - value), value / 32) << half;
    }
  }
}

TEST(Layout, UniformLevelsAreHalfSteps) {
  for (const int bits : {2, 3, 4}) {
    const Codebook& book = codebook(Grid::kUniform, bits);
    for (int code = 0; code < 1 << bits; ++code)
      EXPECT_EQ(static_cast<float>(book.levels[code]) * book.unit,
                static_cast<float>(code) - 0.5F * static_cast<float>((1 << bits) - 1));
  }
  EXPECT_THROW(codebook(Grid::kUniform, 1), std::invalid_argument);
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
