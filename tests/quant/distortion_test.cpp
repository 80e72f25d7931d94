// How much the codecs lose, on Gaussian vectors and on the inputs that break a quantizer without a random rotation.
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "kernels/decode.h"
#include "kernels/encode.h"
#include "tests/quant/vectors.h"

namespace recalld::kernels {
namespace {

using testing::kHeadDims;
using testing::Kind;
using testing::vectors;

// The vectors as they come back from their codes, in the plain basis.
std::vector<float> coded_and_back(const EncodeSpec& spec, int n, const std::vector<float>& rows) {
  const int dim = spec.head_dim;
  std::vector<float> back(rows.size());
  for (int first = 0; first < n; first += kMaxPageTokens) {
    const int count = std::min(kMaxPageTokens, n - first);
    std::vector<uint8_t> codes(side_bytes(count, dim, spec.format));
    std::vector<uint16_t> scales(static_cast<size_t>(padded_tokens(count)));
    const size_t offset = static_cast<size_t>(first) * static_cast<size_t>(dim);
    encode_keys(spec, count, rows.data() + offset, static_cast<size_t>(dim), nullptr,
                {codes.data(), scales.data(), nullptr});
    PageSlice page;
    page.k_format = spec.format;
    page.k = codes.data();
    page.k_scale = scales.data();
    page.n_tokens = count;
    decode_keys(page, dim, back.data() + offset, static_cast<size_t>(dim));
  }
  inverse_hadamard(*spec.flips, dim, n, back.data());
  return back;
}

// Mean over the vectors of |x - x^|^2 / |x|^2.
double relative_error(const std::vector<float>& x, const std::vector<float>& back, int n, int dim) {
  double total = 0;
  for (int row = 0; row < n; ++row) {
    double error = 0, square = 0;
    for (size_t i = static_cast<size_t>(row * dim); i < static_cast<size_t>((row + 1) * dim); ++i) {
      error += std::pow(static_cast<double>(x[i]) - back[i], 2);
      square += std::pow(static_cast<double>(x[i]), 2);
    }
    total += error / square / n;
  }
  return total;
}

const SignFlips kFlips = sign_flips(7);

// E|x - x^|^2 / |x|^2 at head_dim 128 by scale rule: simulated with an exact rotation and unrounded tables.
TEST(Distortion, GaussianVectorsLoseWhatTheTheorySays) {
  struct Case {
    int bits;
    double matched, unbiased, least_squares;
  };
  const int n = 8192, dim = 128;
  const std::vector<float> x = vectors(Kind::kGaussian, n, dim, 21);
  for (const Case& c : {Case{4, .0092, .0093, .0092}, Case{3, .0338, .0347, .0335}, Case{2, .1188, .1305, .1152}}) {
    const auto loss = [&](ScaleRule rule) {
      return relative_error(x, coded_and_back({one_band(c.bits, dim), rule, &kFlips, dim}, n, x), n, dim);
    };
    // The expected values have three or four digits; the last digit of the smallest is 0.5 %.
    EXPECT_NEAR(c.matched, loss(ScaleRule::kMatched), 0.01 * c.matched + 5e-5) << c.bits;
    EXPECT_NEAR(c.unbiased, loss(ScaleRule::kUnbiased), 0.01 * c.unbiased + 5e-5) << c.bits;
    EXPECT_NEAR(c.least_squares, loss(ScaleRule::kLeastSquares), 0.01 * c.least_squares + 5e-5) << c.bits;
  }
}

TEST(Distortion, EveryHeadDimIsNearTheGaussianDistortion) {
  const double table[] = {0, 0, 0.117482, 0.034548, 0.009501};
  const int n = 4096;
  for (const int dim : kHeadDims) {
    const std::vector<float> x = vectors(Kind::kGaussian, n, dim, 22);
    for (const int bits : {4, 3, 2}) {
      const double loss = relative_error(
          x, coded_and_back({one_band(bits, dim), ScaleRule::kLeastSquares, &kFlips, dim}, n, x), n, dim);
      // Finite dimensions do a little better than the normal limit, and the scale takes one more degree of freedom.
      EXPECT_LT(loss, table[bits]) << dim << " bits " << bits;
      EXPECT_GT(loss, table[bits] * 0.9) << dim << " bits " << bits;
    }
  }
}

TEST(Distortion, WorstCaseInputsStayNearTheGaussianLoss) {
  const double table[] = {0, 0, 0.117482, 0.034548, 0.009501};
  const int n = 1024;
  for (const int dim : kHeadDims) {
    // Blocks of 16 and 32 coordinates mix less.
    const double slack = (dim & (dim - 1)) == 0 ? 1.35 : 2.0;
    for (const Kind kind : {Kind::kConstant, Kind::kWalshRow, Kind::kOneHotNoise, Kind::kStudentT,
                            Kind::kLogNormalChannels, Kind::kBigMean}) {
      const std::vector<float> x = vectors(kind, n, dim, 23);
      for (const int bits : {4, 3, 2}) {
        const double loss =
            relative_error(x, coded_and_back({one_band(bits, dim), ScaleRule::kUnbiased, &kFlips, dim}, n, x), n, dim);
        EXPECT_LT(loss, table[bits] / (1 - table[bits]) * slack)
            << "kind " << static_cast<int>(kind) << " dim " << dim << " bits " << bits;
      }
    }
  }
}

TEST(Distortion, MatchedScaleKeepsTheLength) {
  const int n = 512, dim = 96;
  const std::vector<float> x = vectors(Kind::kStudentT, n, dim, 24);
  for (const int bits : {4, 3, 2}) {
    const std::vector<float> back = coded_and_back({one_band(bits, dim), ScaleRule::kMatched, &kFlips, dim}, n, x);
    for (int row = 0; row < n; ++row) {
      double before = 0, after = 0;
      for (size_t i = static_cast<size_t>(row * dim); i < static_cast<size_t>((row + 1) * dim); ++i) {
        before += static_cast<double>(x[i]) * x[i];
        after += static_cast<double>(back[i]) * back[i];
      }
      ASSERT_NEAR(1.0, after / before, 2e-3) << "bits " << bits;
    }
  }
}

// Regression of <q, x^> on <q, x> over queries correlated with the keys: slope 1 for the unbiased rule, 1 - D for the
// least-squares one.
TEST(Distortion, UnbiasedScaleHasSlopeOne) {
  const double table[] = {0, 0, 0.117482, 0.034548, 0.009501};
  for (const int dim : kHeadDims) {
    const int n = 16384;
    const std::vector<float> x = vectors(Kind::kGaussian, n, dim, 25), noise = vectors(Kind::kGaussian, n, dim, 26);
    for (const int bits : {4, 3, 2}) {
      for (const ScaleRule rule : {ScaleRule::kUnbiased, ScaleRule::kLeastSquares}) {
        const std::vector<float> back = coded_and_back({one_band(bits, dim), rule, &kFlips, dim}, n, x);
        double cross = 0, square = 0;
        for (int row = 0; row < n; ++row) {
          double exact = 0, coded = 0;
          for (size_t i = static_cast<size_t>(row * dim); i < static_cast<size_t>((row + 1) * dim); ++i) {
            const double q = static_cast<double>(x[i]) + noise[i];
            exact += q * x[i];
            coded += q * back[i];
          }
          cross += exact * coded;
          square += exact * exact;
        }
        const double slope = cross / square;
        if (rule == ScaleRule::kUnbiased) {
          EXPECT_NEAR(1.0, slope, 0.002) << "dim " << dim << " bits " << bits;
        } else {
          EXPECT_NEAR(1.0 - table[bits], slope, 0.01) << "dim " << dim << " bits " << bits;
        }
      }
    }
  }
}

}  // namespace
}  // namespace recalld::kernels
