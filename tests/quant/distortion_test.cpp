// How much the codecs lose, on Gaussian vectors and on the inputs that break a quantizer without a random rotation.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

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
    std::vector<uint8_t> scales(static_cast<size_t>(padded_tokens(count) * spec.format.scale_bytes()));
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

// Of the Lloyd-Max quantizers of N(0,1), by bits (Max 1960).
constexpr double kGaussianLoss[] = {1, 0.363380, 0.117482, 0.034548, 0.009501};

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
  const int n = 4096;
  for (const int dim : kHeadDims) {
    const std::vector<float> x = vectors(Kind::kGaussian, n, dim, 22);
    for (const int bits : {4, 3, 2}) {
      const double loss = relative_error(
          x, coded_and_back({one_band(bits, dim), ScaleRule::kLeastSquares, &kFlips, dim}, n, x), n, dim);
      // Finite dimensions do a little better than the normal limit, and the scale takes one more degree of freedom.
      EXPECT_LT(loss, kGaussianLoss[bits]) << dim << " bits " << bits;
      EXPECT_GT(loss, kGaussianLoss[bits] * 0.9) << dim << " bits " << bits;
    }
  }
}

TEST(Distortion, WorstCaseInputsStayNearTheGaussianLoss) {
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
        EXPECT_LT(loss, kGaussianLoss[bits] / (1 - kGaussianLoss[bits]) * slack)
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
          EXPECT_NEAR(1.0 - kGaussianLoss[bits], slope, 0.01) << "dim " << dim << " bits " << bits;
        }
      }
    }
  }
}

// One coordinate alone spreads to equal sizes: nothing is lost but the rounding of the scale.
TEST(Distortion, OneCoordinateComesBackWhole) {
  for (const int dim : {64, 128, 256}) {
    const std::vector<float> x = vectors(Kind::kOneSparse, 256, dim, 27);
    for (const int bits : {4, 3, 2})
      EXPECT_LT(
          relative_error(x, coded_and_back({one_band(bits, dim), ScaleRule::kMatched, &kFlips, dim}, 256, x), 256, dim),
          1e-6)
          << dim << " bits " << bits;
  }
}

// Half of the energy in the mean over the dims.
std::vector<float> half_constant(int n, int dim) {
  std::vector<float> x = vectors(Kind::kGaussian, n, dim, 28);
  for (float& value : x) value += 1.0F;
  return x;
}

// Averages over signs at head_dim 128 and 4 bits; expected: 20,000 draws in double precision, unrounded tables, matched
// scales. Without signs such vectors become one large coordinate, which a fixed quantizer cannot hold: signs are never
// left out.
TEST(Distortion, SignsBreakWhatAPlainHadamardTransformPilesUp) {
  constexpr int kDim = 128, kSeeds = 400, kRows = 16;
  SignFlips none;
  std::fill(std::begin(none.sign), std::end(none.sign), 1.0F);
  const struct {
    std::vector<float> x;
    double with_signs, without;
  } cases[] = {{vectors(Kind::kConstant, kRows, kDim, 29), .00739, .15},
               {vectors(Kind::kWalshRow, kRows, kDim, 30), .00739, .15},
               {half_constant(kRows, kDim), .00924, .15}};
  for (const auto& [x, with_signs, without] : cases) {
    const auto loss = [&x = x](const SignFlips& flips) {
      const EncodeSpec spec{one_band(4, kDim), ScaleRule::kMatched, &flips, kDim};
      std::vector<float> back = coded_and_back(spec, kRows, x);
      return relative_error(x, back, kRows, kDim);
    };
    double mean = 0;
    for (int seed = 0; seed < kSeeds; ++seed) mean += loss(sign_flips(static_cast<uint64_t>(seed))) / kSeeds;
    EXPECT_NEAR(with_signs, mean, 0.03 * with_signs);
    EXPECT_GT(loss(none), without);
  }
}

// TurboQuant_mse and TurboQuant_prod (arXiv 2504.19874, algorithms 1 and 2) in doubles, from their definitions: an
// orthogonal transform, the table of N(0,1), and a residual whose signs under a Gaussian matrix are kept.
class Paper {
 public:
  explicit Paper(int dim) : dim_(dim), sketch_(static_cast<size_t>(dim) * static_cast<size_t>(dim)) { draw_sketch(); }

  // Another Gaussian matrix: without bias is the mean over matrices, not one matrix.
  void draw_sketch() {
    for (float& value : sketch_) value = normal_(random_);
  }

  // 1 to 4 bits; the norm is kept exactly.
  std::vector<double> mse(int bits, const float* x) const {
    static const std::vector<double> kLevels[] = {
        {},
        {0.797885},
        {0.452780, 1.510418},
        {0.245094, 0.756005, 1.343909, 2.151946},
        {0.128395, 0.388048, 0.656759, 0.942340, 1.256231, 1.618046, 2.069017, 2.732590}};
    std::vector<float> y(static_cast<size_t>(dim_));
    reference::hadamard(kFlips, dim_, 1, x, y.size(), y.data());
    double norm = 0;
    for (const float value : y) norm += static_cast<double>(value) * value;
    norm = std::sqrt(norm);
    for (float& value : y) {
      const double z = std::abs(value) * std::sqrt(dim_) / norm;
      double nearest = kLevels[bits][0];
      for (const double level : kLevels[bits])
        if (std::abs(z - level) < std::abs(z - nearest)) nearest = level;
      value = static_cast<float>(std::copysign(nearest * norm / std::sqrt(dim_), value));
    }
    reference::inverse_hadamard(kFlips, dim_, 1, y.data());
    return {y.begin(), y.end()};
  }

  std::vector<double> prod(int bits, const float* x) const {
    std::vector<double> back = mse(bits - 1, x), residual(back.size());
    double square = 0;
    for (size_t i = 0; i < back.size(); ++i) {
      residual[i] = x[i] - back[i];
      square += residual[i] * residual[i];
    }
    const size_t d = back.size();
    std::vector<float> dots(d);
    for (size_t i = 0; i < d; ++i)
      for (size_t row = 0; row < d; ++row) dots[row] += sketch_[i * d + row] * static_cast<float>(residual[i]);
    const double scale = std::sqrt(M_PI / 2 * square) / dim_;
    for (size_t i = 0; i < d; ++i) {
      float sum = 0;
      for (size_t row = 0; row < d; ++row) sum += std::copysign(sketch_[i * d + row], sketch_[i * d + row] * dots[row]);
      back[i] += scale * sum;
    }
    return back;
  }

 private:
  int dim_;
  std::mt19937_64 random_{31};
  std::normal_distribution<float> normal_;
  std::vector<float> sketch_;  // transposed: [dim][row]
};

TEST(Distortion, ThePapersQuantizerLosesWhatTheTheorySaysAtOneToFourBits) {
  // At head_dim 128 a little less than for N(0,1): the coordinates of a unit vector have lighter tails.
  constexpr double kExpected[] = {0, .3609, .1160, .0340, .0093};
  constexpr int kDim = 128, kRows = 4096;
  const std::vector<float> x = vectors(Kind::kGaussian, kRows, kDim, 32);
  const Paper paper(kDim);
  for (const int bits : {1, 2, 3, 4}) {
    std::vector<float> back;
    for (int row = 0; row < kRows; ++row)
      for (const double value : paper.mse(bits, x.data() + row * kDim)) back.push_back(static_cast<float>(value));
    const double loss = relative_error(x, back, kRows, kDim);
    EXPECT_NEAR(kExpected[bits], loss, 0.01 * kExpected[bits]) << bits;
    EXPECT_LT(loss, kGaussianLoss[bits]) << bits;
    EXPECT_LT(loss, std::sqrt(3) * M_PI / 2 * std::pow(4, -bits)) << bits;
  }
}

// Dot products with unit queries at cosine 1/2: the paper's unbiased form and ours, whose scale alone takes the bias
// away. `error` is head_dim times the mean squared error.
TEST(Distortion, DotProductsHaveNoBiasAndLessErrorThanThePapersForm) {
  constexpr int kDim = 128, kRows = 32768, kRowsOfSketch = 64;
  const struct {
    int bits;
    double paper, ours;
  } cases[] = {{2, .541, .099}, {3, .179, .0260}, {4, .0526, .0070}};
  std::vector<float> x = vectors(Kind::kGaussian, kRows, kDim, 33), q = vectors(Kind::kGaussian, kRows, kDim, 34);
  for (int row = 0; row < kRows; ++row) {
    float *u = x.data() + row * kDim, *w = q.data() + row * kDim;
    const auto normalise = [](float* a) {
      const double norm = std::sqrt(std::inner_product(a, a + kDim, a, 0.0));
      for (int i = 0; i < kDim; ++i) a[i] = static_cast<float>(a[i] / norm);
    };
    normalise(u);
    const double along = std::inner_product(u, u + kDim, w, 0.0);
    for (int i = 0; i < kDim; ++i) w[i] -= static_cast<float>(along) * u[i];
    normalise(w);
    for (int i = 0; i < kDim; ++i) w[i] = 0.5F * u[i] + std::sqrt(0.75F) * w[i];
  }
  Paper paper(kDim);
  for (const auto& [bits, expected_paper, expected_ours] : cases) {
    const std::vector<float> back =
        coded_and_back({one_band(bits, kDim), ScaleRule::kUnbiased, &kFlips, kDim}, kRows, x);
    double slopes[2] = {}, errors[2] = {};
    for (int row = 0; row < kRows; ++row) {
      if (row % kRowsOfSketch == 0) paper.draw_sketch();
      const float* w = q.data() + row * kDim;
      const std::vector<double> by_paper = paper.prod(bits, x.data() + row * kDim);
      const double dots[2] = {std::inner_product(by_paper.begin(), by_paper.end(), w, 0.0),
                              std::inner_product(w, w + kDim, back.data() + row * kDim, 0.0)};
      for (int i = 0; i < 2; ++i) {
        slopes[i] += dots[i] / 0.5 / kRows;
        errors[i] += kDim * (dots[i] - 0.5) * (dots[i] - 0.5) / kRows;
      }
    }
    EXPECT_NEAR(1.0, slopes[0], 0.002) << bits;
    EXPECT_NEAR(1.0, slopes[1], 0.002) << bits;
    EXPECT_NEAR(expected_paper, errors[0], 0.05 * expected_paper) << bits;
    EXPECT_NEAR(expected_ours, errors[1], 0.05 * expected_ours) << bits;
    EXPECT_LT(2 * errors[1], errors[0]) << bits;
  }
}

}  // namespace
}  // namespace recalld::kernels
