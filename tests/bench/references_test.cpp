// The reference codecs of bench/codecs: what they lose, and what they count.

#include "tests/bench/reference_rows.h"

namespace recalld::bench {
namespace {

const std::vector<std::string> kNames = {"kivi-2",    "kivi-4",    "gear-2",    "gear-4",      "palu-50",    "palu-30",
                                         "palu-50-2", "palu-50-3", "palu-30-4", "kvmerger-50", "kvmerger-35"};

TEST(References, NamesMakeTheCodecTheyName) {
  for (const std::string& name : kNames) {
    EXPECT_TRUE(is_reference(name)) << name;
    EXPECT_EQ(make(name, {1, 1, 64})->name(), name);
  }
  for (const std::string name : {"kivi-3", "gear-", "palu-50-5", "palu", "kvmerger-0", "none16"})
    EXPECT_FALSE(is_reference(name)) << name;
  EXPECT_EQ(make_references("palu-50", 1, nullptr).status().code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(make_references("none16", 1, nullptr).status().code(), StatusCode::kInvalidArgument);
}

TEST(References, CodePagesOfEveryShape) {
  for (const std::string& name : kNames)
    for (const auto& [heads, dims] : {std::pair(1, 64), {3, 64}, {5, 64}, {2, 80}, {1, 256}}) {
      const auto codec = make(name, {1, heads, dims});
      for (const int tokens : {1, 17, 64, 65}) {
        const Shape shape{tokens, heads, dims};
        const quant::PageMeta meta = meta_of(shape, 7);
        const Rows zeros{std::vector<float>(shape.size()), std::vector<float>(shape.size())};
        const Rows of_zeros = through(*codec, meta, zeros);
        EXPECT_EQ(of_zeros.k, zeros.k) << name;
        EXPECT_EQ(of_zeros.v, zeros.v) << name;
        Rows rows{low_rank_rows(shape, 1, 8), low_rank_rows(shape, 2, 8)};
        const Rows back = through(*codec, meta, rows);
        EXPECT_LT(error(rows.k, back.k), 1) << name << ' ' << dims << ' ' << tokens;
        EXPECT_LT(error(rows.v, back.v), 1) << name << ' ' << dims << ' ' << tokens;
        rows.k[0] = std::nanf("");
        rows.v[0] = INFINITY;
        for (const float x : through(*codec, meta, rows).k) ASSERT_TRUE(std::isfinite(x)) << name;
      }
    }
}

TEST(Gear, LosesLessThanKiviOfItsBits) {
  for (const std::string bits : {"2", "4"})
    for (const int dims : {64, 256})
      for (const int tokens : {17, 64, 256}) {
        const Shape shape{tokens, 2, dims};
        const Rows rows{low_rank_rows(shape, 3), low_rank_rows(shape, 4)};
        const Rows gear = through(*make("gear-" + bits, shape), meta_of(shape), rows);
        const Rows kivi = through(*make("kivi-" + bits, shape), meta_of(shape), rows);
        EXPECT_LT(error(rows.k, gear.k), error(rows.k, kivi.k)) << bits << ' ' << dims << ' ' << tokens;
        EXPECT_LT(error(rows.v, gear.v), error(rows.v, kivi.v)) << bits << ' ' << dims << ' ' << tokens;
      }
}

TEST(Gear, KeepsOutliersAsTheyAre) {
  const Shape shape{64, 1, 64};
  Rows rows{low_rank_rows(shape, 5, 0), low_rank_rows(shape, 6, 0)};
  rows.k[20 * 64 + 3] = 1000;
  rows.v[9 * 64 + 7] = -1000;
  const Rows back = through(*make("gear-2", shape), meta_of(shape), rows);
  EXPECT_EQ(back.k[20 * 64 + 3], 1000);
  EXPECT_EQ(back.v[9 * 64 + 7], -1000);
}

TEST(Gear, CountsCodesGroupsFactorsAndOutliers) {
  // Two heads of 64, 64 tokens. Codes: 2 x 64 x 128 numbers. One group for each channel of keys. Factors: of K and V,
  // two heads, 4 x (64 + 64) halves. Outliers: one at each end of a channel of 64 tokens and of a row of 128 numbers.
  const quant::PageMeta meta = meta_of({64, 2, 64});
  const size_t factors = 2 * 2 * 4 * (64 + 64) * 2, outliers = (128 * 2 + 64 * 2) * 4;
  EXPECT_EQ(counted(*make("gear-2", {64, 2, 64}), meta), 96 + 2 * 64 * 128 / 4 + (128 + 128) * 4 + factors + outliers);
  EXPECT_EQ(counted(*make("gear-4", {64, 2, 64}), meta), 96 + 2 * 64 * 128 / 2 + (128 + 64) * 4 + factors + outliers);
  // One token of one head of 64: rank 1, no outliers of a channel, one at each end of the row.
  EXPECT_EQ(counted(*make("gear-2", {1, 1, 64}), meta_of({1, 1, 64})),
            96U + 2 * 16 + (64 + 1) * 4 + 2 * (1 + 64) * 2 + 2 * 4);
}

TEST(Kivi, CountsCodesAndGroups) {
  // 33 tokens are two groups of each channel; 64 dims are two of each token.
  EXPECT_EQ(counted(*make("kivi-2", {33, 1, 64}), meta_of({33, 1, 64})), 96U + 2 * 33 * 16 + (2 * 64 + 33 * 2) * 4);
}

TEST(KvMerger, MergesNeighboursThatAreAlike) {
  // Four tokens of two heads, to be merged to two: the pairs (0 1) (2 3) of head 0, (1 2 3) of head 1.
  const Shape shape{4, 2, 64};
  Rows rows{std::vector<float>(shape.size()), std::vector<float>(shape.size())};
  const auto key = [&](int token, int head, int dim) -> float& {
    return rows.k[static_cast<size_t>((token * 2 + head) * 64 + dim)];
  };
  const int axes[2][4] = {{0, 0, 1, 1}, {0, 1, 1, 1}};
  for (int token = 0; token < 4; ++token)
    for (int head = 0; head < 2; ++head) {
      key(token, head, axes[head][token]) = static_cast<float>(1 + token);
      rows.v[static_cast<size_t>((token * 2 + head) * 64)] = static_cast<float>(token);
    }
  const Rows back = through(*make("kvmerger-50", shape), meta_of(shape), rows);
  const auto value = [&](int token, int head) { return back.v[static_cast<size_t>((token * 2 + head) * 64)]; };
  // Of two the longer is the pivot, with weight 1 against exp(-1/2).
  const double lesser = std::exp(-0.5) / (1 + std::exp(-0.5));
  EXPECT_NEAR(value(0, 0), 1 - lesser, 1e-3);
  EXPECT_EQ(value(1, 0), value(0, 0));
  EXPECT_NEAR(value(2, 0), 3 - lesser, 1e-2);
  EXPECT_EQ(value(3, 0), value(2, 0));
  EXPECT_NEAR(back.k[0], 2 - lesser, 1e-2);
  EXPECT_EQ(value(0, 1), 0) << "alone, as it was";
  EXPECT_EQ(value(1, 1), value(3, 1));
  // Pivot 3, distances 2 and 1, variance 2.5.
  const double w1 = std::exp(-4 / 5.0), w2 = std::exp(-1 / 5.0);
  EXPECT_NEAR(value(1, 1), (3 + 2 * w2 + w1) / (1 + w1 + w2), 1e-2);
}

TEST(KvMerger, CountsTheEntriesItKeeps) {
  const auto codec = make("kvmerger-50", {1, 1, 64});
  EXPECT_EQ(counted(*codec, meta_of({1, 1, 64})), 96U + 257);
  EXPECT_EQ(counted(*codec, meta_of({17, 2, 64})), 96U + 2 * 9 * 257);
  EXPECT_EQ(counted(*make("kvmerger-35", {64, 1, 256}), meta_of({64, 1, 256})), 96U + 23 * 1025);
}

TEST(KvMerger, LosesNothingOfRowsThatComeTwice) {
  const Shape shape{64, 2, 64};
  Rows rows{low_rank_rows(shape, 8, 5), low_rank_rows(shape, 9, 5)};
  for (std::vector<float>* side : {&rows.k, &rows.v})
    for (size_t row = 0; row < 64; row += 2) std::copy_n(&(*side)[row * 128], 128, &(*side)[(row + 1) * 128]);
  const Rows back = through(*make("kvmerger-50", shape), meta_of(shape), rows);
  EXPECT_LT(error(rows.k, back.k), 1e-6);
  EXPECT_LT(error(rows.v, back.v), 1e-6);
}

TEST(LowRank, FindsAMatrixOfItsRank) {
  const std::vector<double> a = random_orthonormal(3, 40, 1), b = random_orthonormal(3, 64, 2);
  std::vector<float> x(40 * 64);
  for (size_t i = 0; i < 3; ++i)
    for (size_t row = 0; row < 40; ++row)
      for (size_t j = 0; j < 64; ++j)
        x[row * 64 + j] += static_cast<float>(static_cast<double>(10 - 3 * i) * a[i * 40 + row] * b[i * 64 + j]);
  const Factors factors = low_rank(40, 64, x.data(), 4);
  std::vector<float> back(x.size());
  for (size_t i = 0; i < 4; ++i)
    for (size_t row = 0; row < 40; ++row)
      for (size_t j = 0; j < 64; ++j) back[row * 64 + j] += factors.a[i * 40 + row] * factors.b[i * 64 + j];
  EXPECT_LT(error(x, back), 1e-10);
}

}  // namespace
}  // namespace recalld::bench
