#include "kernels/encode.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/bytes.h"
#include "tests/quant/vectors.h"

namespace recalld::kernels {
namespace {

using testing::for_each_target;
using testing::kHeadDims;
using testing::Kind;
using testing::vectors;

struct Side {
  std::vector<uint8_t> codes;
  std::vector<uint16_t> scales;
  // Filled with ones, so that a byte left unwritten shows.
  Side(int n, int head_dim, int bits)
      : codes(side_bytes(n, head_dim, bits), 0xff), scales(static_cast<size_t>(padded_tokens(n)), 0xffff) {}
  bool operator==(const Side&) const = default;
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
        for (const int bits : {4, 3, 2}) {
          for (const ScaleRule rule : {ScaleRule::kMatched, ScaleRule::kUnbiased, ScaleRule::kLeastSquares}) {
            const EncodeSpec spec{bits, rule, &kFlips, dim};
            Side expected(n, dim, bits), got(n, dim, bits);
            reference::encode_keys(spec, n, rows.data(), stride, value.data(), expected.codes.data(),
                                   expected.scales.data());
            encode_keys(spec, n, rows.data(), stride, value.data(), got.codes.data(), got.scales.data());
            ASSERT_EQ(expected, got) << target << " K bits " << bits << " dim " << dim << " n " << n;
            reference::encode_values(spec, n, rows.data(), stride, expected.codes.data(), expected.scales.data());
            encode_values(spec, n, rows.data(), stride, got.codes.data(), got.scales.data());
            ASSERT_EQ(expected, got) << target << " V bits " << bits << " dim " << dim << " n " << n;
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
    for (const int bits : {4, 3, 2}) {
      const EncodeSpec spec{bits, ScaleRule::kUnbiased, &kFlips, dim};
      Side k(n, dim, bits), v(n, dim, bits);
      encode_keys(spec, n, rows.data(), stride, mean.data(), k.codes.data(), k.scales.data());
      encode_values(spec, n, rows.data(), stride, v.codes.data(), v.scales.data());
      for (int token = 0; token < n; ++token) {
        const float* row = rows.data() + static_cast<size_t>(token) * stride;
        Side one_k(1, dim, bits), one_v(1, dim, bits);
        encode_keys(spec, 1, row, stride, mean.data(), one_k.codes.data(), one_k.scales.data());
        encode_values(spec, 1, row, stride, one_v.codes.data(), one_v.scales.data());
        ASSERT_EQ(one_k.scales[0], k.scales[static_cast<size_t>(token)]);
        ASSERT_EQ(one_v.scales[0], v.scales[static_cast<size_t>(token)]);
        for (int i = 0; i < dim; ++i) {
          ASSERT_EQ(get_k_code(one_k.codes.data(), 16, dim, bits, 0, i),
                    get_k_code(k.codes.data(), padded_tokens(n), dim, bits, token, i));
          ASSERT_EQ(get_v_code(one_v.codes.data(), 16, dim, bits, 0, i),
                    get_v_code(v.codes.data(), padded_tokens(n), dim, bits, token, i));
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
    Side side(n, dim, bits);
    encode_keys({bits, ScaleRule::kMatched, &kFlips, dim}, n, rows.data(), static_cast<size_t>(dim), nullptr,
                side.codes.data(), side.scales.data());
    for (int token = 0; token < n; ++token) {
      const float* row = y.data() + token * dim;
      double square = 0;
      for (int i = 0; i < dim; ++i) square += static_cast<double>(row[i]) * row[i];
      for (int i = 0; i < dim; ++i) {
        const double z = row[i] * std::sqrt(dim / square);
        const auto error = [&](int code) { return std::fabs(z - static_cast<double>(book.unit) * book.levels[code]); };
        const int code = get_k_code(side.codes.data(), n, dim, bits, token, i);
        for (int other = 0; other < 1 << bits; ++other) ASSERT_LE(error(code), error(other) + 1e-6);
      }
    }
  }
}

TEST(Encode, ZeroAndNonFiniteRowsDecodeToZeros) {
  for (const float bad : {0.0F, std::nanf(""), INFINITY, -INFINITY, 1e-20F}) {
    const std::vector<float> rows(2 * 64, bad);
    Side side(2, 64, 4);
    encode_values({4, ScaleRule::kLeastSquares, &kFlips, 64}, 2, rows.data(), 64, side.codes.data(),
                  side.scales.data());
    EXPECT_EQ(0, side.scales[0]) << bad;
    EXPECT_EQ(0, side.scales[1]) << bad;
  }
}

TEST(Encode, HugeValuesClampToFiniteHalves) {
  const std::vector<float> rows(64, std::numeric_limits<float>::max());
  std::vector<uint16_t> halves(side_bytes(1, 64, 16) / 2);
  store_value_halves(64, 1, rows.data(), 64, halves.data());
  EXPECT_EQ(0x7bff, halves[0]);
  const std::vector<float> wide(256, std::numeric_limits<float>::max());
  for (const ScaleRule rule : {ScaleRule::kMatched, ScaleRule::kUnbiased, ScaleRule::kLeastSquares}) {
    Side side(1, 256, 2);
    encode_values({2, rule, &kFlips, 256}, 1, wide.data(), 256, side.codes.data(), side.scales.data());
    EXPECT_LE(side.scales[0], 0x7bff);
    EXPECT_GT(side.scales[0], 0x7000);
  }
}

}  // namespace
}  // namespace recalld::kernels
