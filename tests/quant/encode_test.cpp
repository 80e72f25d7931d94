#include "kernels/encode.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <tuple>

#include "base/bytes.h"
#include "kernels/decode.h"
#include "tests/kernels/test_page.h"
#include "tests/quant/vectors.h"

namespace recalld::kernels {
namespace {

using testing::for_each_target;
using testing::kHeadDims;
using testing::Kind;
using testing::vectors;

struct Side {
  std::vector<uint8_t> codes, scales;
  std::vector<uint16_t> offsets;
  // Filled with ones, so that a byte left unwritten shows.
  Side(int n, int head_dim, const SideFormat& format)
      : codes(side_bytes(n, head_dim, format), 0xff),
        scales(scales_bytes(format, n), 0xff),
        offsets(format.offsets ? static_cast<size_t>(padded_tokens(n)) : 0, 0xffff) {}
  bool operator==(const Side&) const = default;
  uint16_t half_scale(int index) const { return reinterpret_cast<const uint16_t*>(scales.data())[index]; }
  std::span<const uint8_t> scale(const SideFormat& format, int index) const {
    const auto size = static_cast<size_t>(format.scale_bytes());
    return std::span(scales).subspan(static_cast<size_t>(index) * size, size);
  }
  CodedSide out() { return {codes.data(), scales.data(), offsets.empty() ? nullptr : offsets.data()}; }
};

std::vector<float> awkward_rows(int n, int head_dim) {
  std::vector<float> rows = vectors(Kind::kStudentT, n, head_dim, 11);
  const float odd[] = {0.0F,   -0.0F,  std::nanf(""), INFINITY, -INFINITY, 1e38F,
                       -1e38F, 1e-40F, 65504.0F,      65520.0F, 1e-6F};
  for (size_t i = 0; i < rows.size(); i += 37) rows[i] = odd[i / 37 % std::size(odd)];
  for (int i = 0; i < head_dim; ++i) rows[static_cast<size_t>(i)] = 0;
  return rows;
}

const SignFlips kFlips = sign_flips(42);

std::vector<SideFormat> all_formats(int dim) {
  std::vector<SideFormat> formats;
  for (const int bits : {4, 3, 2}) formats.push_back(one_band(bits, dim));
  for (const SideFormat& format : other_formats(dim)) formats.push_back(resolve(format, dim));
  return formats;
}

TEST(Encode, EveryTargetEqualsTheReference) {
  for_each_target([](const char* target) {
    for (const int dim : kHeadDims) {
      for (const int n : {1, 3, 16, 17, 63, 64}) {
        const auto stride = static_cast<size_t>(dim) + 16;
        const std::vector<float> rows = awkward_rows(n, static_cast<int>(stride));
        std::vector<uint16_t> mean(static_cast<size_t>(dim)), mean_got(mean.size());
        std::vector<float> value(mean.size()), value_got(mean.size());
        reference::transformed_mean(kFlips, dim, n, rows.data(), stride, mean.data(), value.data());
        transformed_mean(kFlips, dim, n, rows.data(), stride, mean_got.data(), value_got.data());
        ASSERT_EQ(mean, mean_got) << target << " dim " << dim << " n " << n;
        ASSERT_EQ(value, value_got);
        for (const SideFormat& format : all_formats(dim)) {
          for (const ScaleRule rule : {ScaleRule::kMatched, ScaleRule::kUnbiased, ScaleRule::kLeastSquares}) {
            if (format.grid == Grid::kUniform && rule != ScaleRule::kMatched) continue;
            for (const SignFlips* flips : {&kFlips, static_cast<const SignFlips*>(nullptr)}) {
              const EncodeSpec spec{format, rule, flips, dim, 0.92};
              SCOPED_TRACE(std::string(target) + " " + format_name(format) + " dim " + std::to_string(dim) + " n " +
                           std::to_string(n));
              Side expected(n, dim, format), got(n, dim, format);
              reference::encode_keys(spec, n, rows.data(), stride, value.data(), expected.out());
              encode_keys(spec, n, rows.data(), stride, value.data(), got.out());
              ASSERT_EQ(expected, got);
              reference::encode_keys(spec, n, rows.data(), stride, nullptr, expected.out());
              encode_keys(spec, n, rows.data(), stride, nullptr, got.out());
              ASSERT_EQ(expected, got);
              reference::encode_values(spec, n, rows.data(), stride, expected.out());
              encode_values(spec, n, rows.data(), stride, got.out());
              ASSERT_EQ(expected, got);
            }
          }
        }
      }
    }
  });
}

TEST(Encode, HalvesOfEveryTargetEqualTheReference) {
  for_each_target([](const char* target) {
    for (const int dim : kHeadDims) {
      for (const int n : {1, 15, 16, 40}) {
        std::vector<float> rows = awkward_rows(n, dim);
        // Ties and neighbours of ties, normal and subnormal.
        for (size_t i = 5; i < rows.size(); i += 11)
          rows[i] = std::ldexp(1.0F + static_cast<float>(i % 4096) / 2048.0F, static_cast<int>(i % 40) - 27);
        const std::vector<uint16_t> unwritten(side_bytes(n, dim, 16) / 2, 0xffff);
        auto expected = unwritten, got = unwritten;
        const auto stride = static_cast<size_t>(dim);
        reference::store_key_halves(dim, n, rows.data(), stride, expected.data());
        store_key_halves(dim, n, rows.data(), stride, got.data());
        ASSERT_EQ(expected, got) << target << " K dim " << dim << " n " << n;
        expected = got = unwritten;
        reference::store_value_halves(dim, n, rows.data(), stride, expected.data());
        store_value_halves(dim, n, rows.data(), stride, got.data());
        ASSERT_EQ(expected, got) << target << " V dim " << dim << " n " << n;
      }
    }
  });
}

TEST(Encode, OneTokenOrManyGiveTheSameCodesAndScale) {
  const int n = 37;
  for (const int dim : kHeadDims) {
    const std::vector<float> rows = vectors(Kind::kBigMean, n, dim, 12);
    const std::vector<float> mean = vectors(Kind::kGaussian, 1, dim, 13);
    const auto stride = static_cast<size_t>(dim);
    for (const SideFormat& format : all_formats(dim)) {
      const EncodeSpec spec{format, ScaleRule::kUnbiased, &kFlips, dim, 0.96};
      Side k(n, dim, format), v(n, dim, format);
      encode_keys(spec, n, rows.data(), stride, mean.data(), k.out());
      encode_values(spec, n, rows.data(), stride, v.out());
      for (int token = 0; token < n; ++token) {
        const float* row = rows.data() + static_cast<size_t>(token) * stride;
        Side one_k(1, dim, format), one_v(1, dim, format);
        encode_keys(spec, 1, row, stride, mean.data(), one_k.out());
        encode_values(spec, 1, row, stride, one_v.out());
        for (int i = 0; i < format.n_scales(); ++i) {
          const int at = i * padded_tokens(n) + token, at_one = i * 16;
          ASSERT_TRUE(std::ranges::equal(one_k.scale(format, at_one), k.scale(format, at)));
          ASSERT_TRUE(std::ranges::equal(one_v.scale(format, at_one), v.scale(format, at)));
        }
        if (format.offsets) {
          ASSERT_EQ(one_k.offsets[0], k.offsets[static_cast<size_t>(token)]);
          ASSERT_EQ(one_v.offsets[0], v.offsets[static_cast<size_t>(token)]);
        }
        for (int i = 0; i < stored_dims(format); ++i) {
          ASSERT_EQ(get_k_code(one_k.codes.data(), 16, format, 0, i),
                    get_k_code(k.codes.data(), padded_tokens(n), format, token, i));
          ASSERT_EQ(get_v_code(one_v.codes.data(), 16, format, 0, i),
                    get_v_code(v.codes.data(), padded_tokens(n), format, token, i));
        }
      }
    }
  }
}

TEST(Encode, CodesAreTheNearestLevels) {
  const int n = 16, dim = 64;
  const std::vector<float> rows = vectors(Kind::kGaussian, n, dim, 14);
  std::vector<float> y(rows.size());
  hadamard(kFlips, dim, n, rows.data(), static_cast<size_t>(dim), y.data());
  for (const int bits : {4, 3, 2}) {
    const Codebook& book = lloyd_max(bits);
    const SideFormat format = one_band(bits, dim);
    Side side(n, dim, format);
    encode_keys({format, ScaleRule::kMatched, &kFlips, dim}, n, rows.data(), static_cast<size_t>(dim), nullptr,
                side.out());
    for (int token = 0; token < n; ++token) {
      const float* row = y.data() + token * dim;
      double square = 0;
      for (int i = 0; i < dim; ++i) square += static_cast<double>(row[i]) * row[i];
      for (int i = 0; i < dim; ++i) {
        const double z = row[i] * std::sqrt(dim / square);
        const auto error = [&](int code) { return std::fabs(z - static_cast<double>(book.unit) * book.levels[code]); };
        const int code = get_k_code(side.codes.data(), n, format, token, i);
        for (int other = 0; other < 1 << bits; ++other) ASSERT_LE(error(code), error(other) + 1e-6);
      }
    }
  }
}

TEST(Encode, ZeroAndNonFiniteRowsDecodeToZeros) {
  for (const float bad : {0.0F, std::nanf(""), INFINITY, -INFINITY, 1e-20F}) {
    const std::vector<float> rows(2 * 64, bad);
    for (const SideFormat& format : all_formats(64)) {
      Side side(2, 64, format);
      encode_values({format, ScaleRule::kLeastSquares, &kFlips, 64}, 2, rows.data(), 64, side.out());
      EXPECT_EQ(std::vector<uint8_t>(side.scales.size()), side.scales) << bad << " " << format_name(format);
      for (const uint16_t offset : side.offsets) EXPECT_EQ(0, offset & 0x7fff) << bad << " " << format_name(format);
    }
  }
}

TEST(Encode, HugeValuesClampToFiniteHalves) {
  const std::vector<float> rows(64, std::numeric_limits<float>::max());
  std::vector<uint16_t> halves(side_bytes(1, 64, 16) / 2);
  store_value_halves(64, 1, rows.data(), 64, halves.data());
  EXPECT_EQ(0x7bff, halves[0]);
  const std::vector<float> wide(256, std::numeric_limits<float>::max());
  for (const ScaleRule rule : {ScaleRule::kMatched, ScaleRule::kUnbiased, ScaleRule::kLeastSquares}) {
    Side side(1, 256, one_band(2, 256));
    encode_values({one_band(2, 256), rule, &kFlips, 256}, 1, wide.data(), 256, side.out());
    EXPECT_LE(side.half_scale(0), 0x7bff);
    EXPECT_GT(side.half_scale(0), 0x7000);
  }
}

// What comes back of rows coded as keys: [n][dim], no mean.
std::vector<float> back_from(const EncodeSpec& spec, int n, const std::vector<float>& rows) {
  Side side(n, spec.head_dim, spec.format);
  encode_keys(spec, n, rows.data(), static_cast<size_t>(spec.head_dim), nullptr, side.out());
  PageSlice page;
  page.k_format = spec.format;
  page.k = side.codes.data();
  page.k_scale = side.scales.data();
  page.k_offset = side.offsets.empty() ? nullptr : side.offsets.data();
  page.n_tokens = n;
  std::vector<float> back(rows.size());
  decode_keys(page, spec.head_dim, back.data(), static_cast<size_t>(spec.head_dim));
  return back;
}

// Nearest levels and the scale of least squares over bands [first_band, end_band) of one row, in doubles.
void code_in_doubles(const SideFormat& format, int first_band, int end_band, const float* x, double* back) {
  const int begin = band_place(format, 0, first_band).first_dim, end = band_place(format, 0, end_band).first_dim;
  double square = 0, dot = 0, level_square = 0;
  for (int i = begin; i < end; ++i) square += static_cast<double>(x[i]) * x[i];
  for (int band = first_band, i = begin; band < end_band; ++band) {
    const Codebook& book = lloyd_max(format.bands[band].bits);
    for (const int band_end = i + format.bands[band].n_dims; i < band_end; ++i) {
      const double z = x[i] * std::sqrt((end - begin) / square);
      back[i] = 1e9;
      for (int code = 0; code < 1 << book.bits; ++code) {
        const double level = static_cast<double>(book.unit) * book.levels[code];
        if (std::fabs(z - level) < std::fabs(z - back[i])) back[i] = level;
      }
      dot += x[i] * back[i];
      level_square += back[i] * back[i];
    }
  }
  for (int i = begin; i < end; ++i) back[i] *= dot / level_square;
}

// Each band has its own levels, on the scale it shares or its own; a band that is not stored comes back as zeros.
TEST(Encode, BandsComeBackAsInDoubles) {
  const int n = 64, dim = 128;
  std::vector<float> x = vectors(Kind::kGaussian, n, dim, 15);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= i % dim < 48 ? 3.0F : 1.0F;
  for (const bool scale_per_band : {false, true}) {
    SideFormat format;
    for (const Band band : {Band{4, 48}, Band{3, 32}, Band{2, 32}, Band{0, 16}}) format.bands[format.n_bands++] = band;
    format.scale_per_band = scale_per_band;
    const std::vector<float> back = back_from({format, ScaleRule::kLeastSquares, nullptr, dim}, n, x);
    for (int token = 0; token < n; ++token) {
      double expected[dim] = {};
      for (int band = 0; band < 3; band += scale_per_band ? 1 : 3)
        code_in_doubles(format, band, scale_per_band ? band + 1 : 3, x.data() + token * dim, expected);
      // The scale is rounded to a half.
      for (int i = 0; i < dim; ++i)
        ASSERT_NEAR(back[static_cast<size_t>(token * dim + i)], expected[i], 1e-3 * std::fabs(expected[i]))
            << scale_per_band << " token " << token << " dim " << i;
    }
  }
}

TEST(Encode, ScaleRulesHoldOverBands) {
  const int n = 64, dim = 96;
  const std::vector<float> x = vectors(Kind::kStudentT, n, dim, 16);
  SideFormat format;
  for (const Band band : {Band{4, 32}, Band{2, 48}, Band{0, 16}}) format.bands[format.n_bands++] = band;
  const auto sums_of = [&](ScaleRule rule, int token) {
    const std::vector<float> back = back_from({format, rule, nullptr, dim}, n, x);
    double square = 0, dot = 0, back_square = 0;
    for (size_t i = static_cast<size_t>(token * dim); i < static_cast<size_t>(token * dim + 80); ++i) {
      square += static_cast<double>(x[i]) * x[i];
      dot += static_cast<double>(x[i]) * back[i];
      back_square += static_cast<double>(back[i]) * back[i];
    }
    return std::tuple(square, dot, back_square);
  };
  for (const int token : {0, 13, 63}) {
    const auto [square, dot, back_square] = sums_of(ScaleRule::kMatched, token);
    EXPECT_NEAR(back_square / square, 1, 2e-3);
    const auto [u_square, u_dot, u_back] = sums_of(ScaleRule::kUnbiased, token);
    EXPECT_NEAR(u_dot / u_square, 1, 1e-3);
    const auto [l_square, l_dot, l_back] = sums_of(ScaleRule::kLeastSquares, token);
    EXPECT_NEAR(l_dot / l_back, 1, 1e-3);
  }
}

// OSCAR's quantizer in doubles: rank threshold, range, rounding.
TEST(Encode, UniformRowsAreClippedAndCutAsOscarDoes) {
  const int n = 33, dim = 128;
  const std::vector<float> x = vectors(Kind::kStudentT, n, dim, 17);
  for (const int bits : {2, 3, 4}) {
    for (const double clip : {0.92, 0.96, 1.0}) {
      const std::vector<float> back = back_from({affine_band(bits, dim), {}, nullptr, dim, clip}, n, x);
      for (int token = 0; token < n; ++token) {
        const float* row = x.data() + token * dim;
        std::vector<double> sizes;
        for (int i = 0; i < dim; ++i) sizes.push_back(std::fabs(static_cast<double>(row[i])));
        std::sort(sizes.begin(), sizes.end());
        const double bound = sizes[std::min(static_cast<size_t>(clip * dim), sizes.size() - 1)];
        double low = bound, high = -bound;
        for (int i = 0; i < dim; ++i) {
          low = std::min(low, std::clamp<double>(row[i], -bound, bound));
          high = std::max(high, std::clamp<double>(row[i], -bound, bound));
        }
        const int top = (1 << bits) - 1;
        const double step = (high - low) / top;
        for (int i = 0; i < dim; ++i) {
          const double steps = (std::clamp<double>(row[i], -bound, bound) - low) / step;
          const double got = (back[static_cast<size_t>(token * dim + i)] - low) / step;
          // Half a step, and the rounding of scale and offset to halves.
          ASSERT_NEAR(got, steps, 0.5 + 2e-3 * top) << bits << " " << clip << " " << token << " " << i;
          ASSERT_NEAR(got, std::round(got), 2e-3 * top);
        }
      }
    }
  }
}

}  // namespace
}  // namespace recalld::kernels
