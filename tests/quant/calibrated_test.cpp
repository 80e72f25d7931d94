#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "kernels/decode.h"
#include "quant/calibrated.h"
#include "quant/oscar.h"
#include "quant/split_turboquant.h"
#include "tests/quant/calibration_fixture.h"
#include "tests/quant/vectors.h"

namespace recalld::quant {
namespace {

using testing::filed, testing::random_calibration, testing::vectors;

constexpr int kHeads = 2;

PageMeta meta_of(int d, int n_tokens) {
  PageMeta meta;
  meta.layer = 1;
  meta.n_kv_heads = kHeads;
  meta.head_dim = d;
  meta.n_tokens = n_tokens;
  return meta;
}

std::shared_ptr<const Codec> layer_one(const std::string& name, const Calibration& calibration) {
  return make_codecs(name, 2, &calibration).value()[1];
}

AlignedBuffer encoded(const Codec& codec, const PageMeta& meta, const float* k, const float* v) {
  AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  EXPECT_TRUE(codec.encode_page(meta, k, v, page.span()).ok());
  return page;
}

double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

TEST(LinearAlgebra, EigenvectorsAndInverses) {
  for (const int d : {16, 64}) {
    const Matrix a = testing::random_covariance(d, 3);
    const Eigen eigen = symmetric_eigen(d, a);
    EXPECT_TRUE(std::ranges::is_sorted(eigen.values, std::greater<>()));
    const Matrix again = spectral(d, eigen, eigen.values);
    const Matrix one = multiply(d, a, inverse(d, a).value());
    for (size_t i = 0; i < a.size(); ++i) {
      EXPECT_NEAR(a[i], again[i], 1e-9 * eigen.values[0]);
      EXPECT_NEAR(i % static_cast<size_t>(d + 1) == 0 ? 1 : 0, one[i], 1e-8);
    }
  }
  EXPECT_FALSE(inverse(2, {1, 2, 2, 4}).ok());
}

// What attention computes from codes is what it would compute from the decoded page.
TEST(MatrixCodecs, QueriesAndOutputsFitThePages) {
  for (const int d : {64, 96, 256}) {
    const auto calibration = filed(random_calibration(d, kHeads));
    for (const std::string& name : calibrated_codec_names()) {
      if (name == "oscar-2" && !std::has_single_bit(static_cast<unsigned>(d))) continue;
      const auto codec = layer_one(name, *calibration);
      PageMeta meta = meta_of(d, 37);
      meta.rope_start = 137;
      const std::vector<float> k = vectors(testing::Kind::kBigMean, 37 * kHeads, d, 1);
      const std::vector<float> v = vectors(testing::Kind::kGaussian, 37 * kHeads, d, 2);
      const AlignedBuffer page = encoded(*codec, meta, k.data(), v.data());
      const PageView view = verify_page(page.span()).value();
      std::vector<float> k_plain(k.size()), v_plain(v.size()), rows(static_cast<size_t>(37 * d));
      ASSERT_TRUE(codec->decode_page(view, k_plain.data(), v_plain.data()).ok());
      const std::vector<float> q = vectors(testing::Kind::kGaussian, 1, d, 4);
      std::vector<float> turned(q.size()), mapped(q.size());
      kernels::RopeShift(calibration->layers[1].rope, -codec->key_origin(meta))
          .rotate(1, d, q.data(), static_cast<size_t>(d), turned.data());
      for (int head = 0; head < kHeads; ++head) {
        kernels::PageSlice slice = view.slice(head);
        if (codec->key_mean(head) != nullptr) slice.k_mean = codec->key_mean(head);
        codec->transform_queries(1, head, d, 1, turned.data(), mapped.data());
        kernels::decode_keys(slice, d, rows.data(), static_cast<size_t>(d));
        const double size = std::sqrt(dot(q.data(), q.data(), d));
        for (int t = 0; t < 37; ++t)
          EXPECT_NEAR(dot(mapped.data(), &rows[static_cast<size_t>(t * d)], d),
                      dot(q.data(), &k_plain[static_cast<size_t>((t * kHeads + head) * d)], d), 1e-2 * size)
              << name << " " << d;
        kernels::decode_values(slice, d, rows.data(), static_cast<size_t>(d));
        codec->restore_outputs(1, head, d, 1, rows.data());
        for (int i = 0; i < d; ++i)
          EXPECT_NEAR(rows[static_cast<size_t>(i)], v_plain[static_cast<size_t>(head * d + i)], 1e-4) << name;
      }
    }
  }
}

TEST(MatrixCodecs, OneTokenOrManyGiveEqualRows) {
  constexpr int kDim = 64, kTokens = 21;
  const auto calibration = filed(random_calibration(kDim, kHeads));
  const std::vector<float> k = vectors(testing::Kind::kStudentT, kTokens * kHeads, kDim, 5);
  for (const std::string& name : calibrated_codec_names()) {
    const auto codec = layer_one(name, *calibration);
    if ((codec->tag().flags & kFlagCentred) != 0) continue;  // codes follow the mean of the page
    const AlignedBuffer bulk = encoded(*codec, meta_of(kDim, kTokens), k.data(), k.data());
    std::vector<float> k_bulk(k.size()), v_bulk(k.size()), k_one(kDim * kHeads), v_one(kDim * kHeads);
    ASSERT_TRUE(codec->decode_page(parse_page(bulk.span()).value(), k_bulk.data(), v_bulk.data()).ok());
    for (size_t t = 0; t < kTokens; ++t) {
      const float* row = k.data() + t * k_one.size();
      const AlignedBuffer page = encoded(*codec, meta_of(kDim, 1), row, row);
      ASSERT_TRUE(codec->decode_page(parse_page(page.span()).value(), k_one.data(), v_one.data()).ok());
      EXPECT_TRUE(std::equal(k_one.begin(), k_one.end(), k_bulk.begin() + static_cast<ptrdiff_t>(t * k_one.size())));
      EXPECT_TRUE(std::equal(v_one.begin(), v_one.end(), v_bulk.begin() + static_cast<ptrdiff_t>(t * k_one.size())));
    }
  }
}

TEST(MatrixCodecs, NumbersThatAreNotFiniteCountAsZero) {
  constexpr int kDim = 64;
  const auto calibration = filed(random_calibration(kDim, kHeads));
  std::vector<float> k = vectors(testing::Kind::kGaussian, kHeads, kDim, 6);
  k[3] = 0;
  std::vector<float> odd = k;
  odd[3] = std::numeric_limits<float>::quiet_NaN();
  for (const std::string& name : calibrated_codec_names()) {
    const auto codec = layer_one(name, *calibration);
    const AlignedBuffer a = encoded(*codec, meta_of(kDim, 1), k.data(), k.data());
    const AlignedBuffer b = encoded(*codec, meta_of(kDim, 1), odd.data(), odd.data());
    EXPECT_TRUE(std::ranges::equal(a.span(), b.span())) << name;
  }
}

// The same text later in a history: its keys are the same ones, rotated further.
TEST(CalibratedCodecs, PagesAreWorthTheSameAtEveryPosition) {
  constexpr int kDim = 64, kTokens = 48;
  const auto calibration = filed(random_calibration(kDim, kHeads));
  const auto codec = layer_one("calibrated-3", *calibration);
  const std::vector<float> k = vectors(testing::Kind::kGaussian, kTokens * kHeads, kDim, 9);
  const auto error = [&](int position) {
    PageMeta meta = meta_of(kDim, kTokens);
    meta.rope_start = position;
    std::vector<float> there(k.size()), k_back(k.size()), v_back(k.size());
    kernels::RopeShift(calibration->layers[1].rope, position)
        .rotate(kTokens * kHeads, kDim, k.data(), kDim, there.data());
    const AlignedBuffer page = encoded(*codec, meta, there.data(), k.data());
    EXPECT_TRUE(codec->decode_page(parse_page(page.span()).value(), k_back.data(), v_back.data()).ok());
    double sum = 0;
    for (size_t i = 0; i < k.size(); ++i) sum += std::pow(static_cast<double>(k_back[i]) - there[i], 2);
    return sum;
  };
  const double here = error(0);
  for (const int position : {1, 63, 4000, 100000}) EXPECT_NEAR(here, error(position), 0.01 * here) << position;
}

TEST(SplitTurboQuant, OutlierChannelsHaveMoreBits) {
  for (const int d : {64, 80, 128, 256}) {
    const auto calibration = filed(random_calibration(d, kHeads));
    const int outliers = outlier_channels(d);
    EXPECT_NEAR(d / 4, outliers, 8);
    for (const auto& [name, bits] :
         std::vector<std::pair<std::string, int>>{{"turboquant-2.5", 2}, {"turboquant-3.5", 3}}) {
      const auto codec = layer_one(name, *calibration);
      // Codes and two scales of each vector, a mean of 256 keys and a header.
      const double codes = bits + static_cast<double>(outliers) / d + 32.0 / d;
      const double page_bits = 8.0 * static_cast<double>(codec->page_bytes(kHeads, d, 256)) / (2 * kHeads * d * 256);
      EXPECT_NEAR(codes + 8.0 / 256, page_bits, 0.02) << name << " " << d;
      // Errors of 64 vectors by channel: those of the channels with the most energy (here: the largest numbers of
      // k_energy, with Gaussian keys of equal variance) are smaller by a bit, less what the mean of the page adds.
      const std::vector<float> x = vectors(testing::Kind::kGaussian, 64 * kHeads, d, 15);
      const AlignedBuffer page = encoded(*codec, meta_of(d, 64), x.data(), x.data());
      std::vector<float> k(x.size()), v(x.size());
      ASSERT_TRUE(codec->decode_page(parse_page(page.span()).value(), k.data(), v.data()).ok());
      for (const bool keys : {true, false}) {
        const HeadCalibration& head = calibration->layers[1].heads[0];
        const std::vector<float>& energy = keys ? head.k_energy : head.v_energy;
        std::vector<float> sorted = energy;
        std::ranges::sort(sorted, std::greater<>());
        double sum[2] = {}, count[2] = {};
        for (size_t t = 0; t < 64; ++t)
          for (size_t i = 0; i < static_cast<size_t>(d); ++i) {
            const size_t at = t * kHeads * static_cast<size_t>(d) + i;
            const int outlier = energy[i] >= sorted[static_cast<size_t>(outliers - 1)] ? 1 : 0;
            sum[outlier] += std::pow(static_cast<double>((keys ? k : v)[at]) - x[at], 2);
            count[outlier] += 1;
          }
        EXPECT_EQ(64 * outliers, count[1]);
        // Distortions of N(0,1) at 2, 3 and 4 bits: .1175, .0345, .0095. Codes of vectors of one length are a little
        // better, the more so the fewer dims they have: those of the smaller part.
        EXPECT_GT(sum[0] / count[0] / (sum[1] / count[1]), bits == 2 ? 3.2 : 3.4) << name << " " << d;
      }
    }
  }
}

// Written from the equations (arXiv 2605.17757; research: the released code), one row at a time, in doubles.
TEST(Oscar, RotationClipAndCodesFollowTheEquations) {
  constexpr int kDim = 64;
  const Matrix target = testing::random_covariance(kDim, 50 + 1);
  const auto calibration = filed(random_calibration(kDim, kHeads));
  const std::vector<float>& m = calibration->layers[1].oscar_k;
  // x M P^T H^T = x U, with U's columns the eigenvectors in ascending order: U^T C U is diagonal and ascends.
  int bits_reversed[kDim];
  for (int i = 0; i < kDim; ++i) {
    bits_reversed[i] = 0;
    for (int bit = 0; bit < 6; ++bit) bits_reversed[i] |= ((i >> bit) & 1) << (5 - bit);
  }
  std::vector<std::vector<double>> u(kDim, std::vector<double>(kDim));
  for (int row = 0; row < kDim; ++row)
    for (int c = 0; c < kDim; ++c)
      for (int i = 0; i < kDim; ++i) {
        // Column bitrev(i) of M is column n - 1 - i of U H; H is its own inverse.
        const int h_row = kDim - 1 - i;
        const double sign = std::popcount(static_cast<unsigned>(c & h_row)) % 2 == 0 ? 1 : -1;
        u[row][c] += m[static_cast<size_t>(row * kDim + bits_reversed[i])] * sign / 8.0;
      }
  double previous = 0;
  for (int a = 0; a < kDim; ++a) {
    double own = 0;
    for (int b = 0; b < kDim; ++b) {
      double product = 0, length = 0;
      for (int i = 0; i < kDim; ++i) {
        length += u[i][a] * u[i][b];
        for (int j = 0; j < kDim; ++j) product += u[i][a] * target[static_cast<size_t>(i * kDim + j)] * u[j][b];
      }
      EXPECT_NEAR(a == b ? 1 : 0, length, 2e-3);
      if (a == b) own = product;
    }
    EXPECT_GE(own, previous * 0.98) << "eigenvalue " << a;
    previous = own;
  }

  const auto codec = layer_one("oscar-2", *calibration);
  const std::vector<float> k = vectors(testing::Kind::kStudentT, kHeads * 40, kDim, 8);
  const AlignedBuffer page = encoded(*codec, meta_of(kDim, 40), k.data(), k.data());
  const PageView view = parse_page(page.span()).value();
  for (int head = 0; head < kHeads; ++head) {
    const kernels::PageSlice slice = view.slice(head);
    std::vector<float> coded(40 * kDim), coded_v(40 * kDim);
    kernels::decode_keys(slice, kDim, coded.data(), kDim);
    kernels::decode_values(slice, kDim, coded_v.data(), kDim);
    for (int t = 0; t < 40; ++t) {
      double x[kDim] = {};
      for (int j = 0; j < kDim; ++j)
        for (int i = 0; i < kDim; ++i)
          x[i] += static_cast<double>(k[static_cast<size_t>((t * kHeads + head) * kDim + j)]) *
                  m[static_cast<size_t>(j * kDim + i)];
      for (const bool keys : {true, false}) {
        double sizes[kDim], clipped[kDim];
        for (int i = 0; i < kDim; ++i) sizes[i] = std::abs(x[i]);
        std::sort(sizes, sizes + kDim);
        const double tau = sizes[static_cast<int>((keys ? 0.96 : 0.92) * kDim)];
        for (int i = 0; i < kDim; ++i) clipped[i] = std::clamp(x[i], -tau, tau);
        const auto [low, high] = std::minmax_element(clipped, clipped + kDim);
        const double step = (*high - *low) / 3, zero = -*low / step;
        int differ = 0;
        for (int i = 0; i < kDim; ++i) {
          const double expected = (std::trunc(clipped[i] / step + zero + 0.5) - zero) * step;
          // A number at the edge of two codes may round either way; scale and offset are halves.
          differ +=
              std::abs(expected - (keys ? coded : coded_v)[static_cast<size_t>(t * kDim + i)]) > 4e-3 * tau + 1e-4;
        }
        EXPECT_LE(differ, 1) << "row " << t;
      }
    }
  }
}

// The paper's 2.28 bits: codes, a scale and an offset of 16 bits for each row of 128, and windows of 64 first and 256
// newest tokens in 16 bits at 131,072 tokens. Ours has page headers and padding on top.
TEST(Oscar, BitsPerNumberAreThePapers) {
  constexpr int kDim = 128, kOfPage = 256;
  constexpr double kTokens = 131'072, kWindows = 64 + 256;
  const auto calibration = filed(random_calibration(kDim, 1));
  const auto bits_of = [](const Codec& codec) {
    constexpr int kPageHeads = 8;
    return static_cast<double>(codec.page_bytes(kPageHeads, kDim, kOfPage)) * 8 / (2 * kPageHeads * kDim * kOfPage);
  };
  const auto with_windows = [](double coded, double plain) { return coded + (plain - coded) * kWindows / kTokens; };
  const double papers = with_windows(2 + 32.0 / kDim, 16);
  EXPECT_NEAR(2.28, papers, 0.005);
  const double ours =
      with_windows(bits_of(*layer_one("oscar-2", *calibration)), bits_of(*make_codec("none16").value()));
  EXPECT_GE(ours, papers);
  EXPECT_NEAR(papers, ours, 0.0025);
}

TEST(CalibrationFile, RoundTripAndRefusals) {
  const Calibration made = random_calibration(64, kHeads);
  const std::vector<std::byte> bytes = write_calibration(made).value();
  const auto parsed = parse_calibration(bytes).value();
  EXPECT_EQ(made.layers[1].bits, parsed->layers[1].bits);
  EXPECT_EQ(made.layers[1].heads[1].k.variances, parsed->layers[1].heads[1].k.variances);
  EXPECT_EQ("a model", parsed->model_name);
  EXPECT_EQ(made.layers[1].rope.inv_freq, parsed->layers[1].rope.inv_freq);
  EXPECT_EQ(made.layers[1].heads[1].k_energy, parsed->layers[1].heads[1].k_energy);
  // What a file keeps is written again as it was, but for the last bit of a row's length.
  EXPECT_EQ(bytes.size(), write_calibration(*parsed).value().size());

  for (const size_t size : {size_t{0}, size_t{10}, bytes.size() / 2, bytes.size() - 1})
    EXPECT_EQ(StatusCode::kCorrupt, parse_calibration(std::span(bytes).first(size)).status().code()) << size;
  for (const size_t at : {size_t{3}, size_t{20}, bytes.size() / 2, bytes.size() - 3}) {
    std::vector<std::byte> altered = bytes;
    altered[at] ^= std::byte{4};
    EXPECT_EQ(StatusCode::kCorrupt, parse_calibration(altered).status().code()) << at;
  }

  const std::vector<LayerDims> dims(2, {kHeads, 64});
  EXPECT_TRUE(check_calibration(*parsed, {7, 9}, dims).ok());
  EXPECT_EQ(StatusCode::kFailedPrecondition, check_calibration(*parsed, {7, 8}, dims).code());
  EXPECT_FALSE(check_calibration(*parsed, {7, 9}, std::vector<LayerDims>(2, {kHeads, 128})).ok());
}

TEST(CalibratedCodecs, RefusalsSayWhatToDo) {
  const Status none = make_codecs("calibrated-2", 2, nullptr).status();
  EXPECT_EQ(StatusCode::kFailedPrecondition, none.code());
  EXPECT_NE(std::string::npos, none.message().find("recallctl calibrate")) << none.message();
  const auto calibration = filed(random_calibration(96, kHeads));
  EXPECT_FALSE(make_codecs("calibrated-2", 3, calibration.get()).ok());
  EXPECT_EQ(StatusCode::kUnsupported, make_codecs("oscar-2", 2, calibration.get()).status().code());
  EXPECT_FALSE(check_codec_name("calibrated-5").ok());
  const std::vector<float> k = vectors(testing::Kind::kGaussian, kHeads, 96, 1);
  const auto codec = layer_one("calibrated-3", *calibration);
  PageMeta meta = meta_of(96, 1);
  meta.layer = 0;
  AlignedBuffer page(codec->page_bytes(kHeads, 96, 1));
  EXPECT_EQ(StatusCode::kInvalidArgument, codec->encode_page(meta, k.data(), k.data(), page.span()).code());
}

}  // namespace
}  // namespace recalld::quant
