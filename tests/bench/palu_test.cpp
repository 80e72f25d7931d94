// Palu as a reference: what its bases hold, and what it counts.

#include "tests/bench/reference_rows.h"

namespace recalld::bench {
namespace {

TEST(Palu, KeepsWhatLiesInItsBasis) {
  const Shape shape{17, 5, 64};
  const PaluBases bases = random_bases(shape);
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal;
  Rows rows{std::vector<float>(shape.size()), std::vector<float>(shape.size())};
  for (const PaluGroup& group : bases.layers[0].groups) {
    const auto width = static_cast<size_t>(group.n_heads * shape.dims);
    for (size_t token = 0; token < 17; ++token)
      for (size_t i = 0; i < width / 2; ++i)
        for (std::vector<float>* side : {&rows.k, &rows.v}) {
          const float weight = normal(random);
          for (size_t j = 0; j < width; ++j)
            (*side)[token * 320 + static_cast<size_t>(group.first_head) * 64 + j] += weight * group.k[i * width + j];
        }
  }
  turn_keys(bases.layers[0], 17, 900, 1, rows.k.data());
  const auto codec = make_references("palu-50", 1, &bases).value().front();
  const Rows back = through(*codec, meta_of(shape, 900), rows);
  EXPECT_LT(error(rows.k, back.k), 1e-6);
  EXPECT_LT(error(rows.v, back.v), 1e-6);
  EXPECT_GT(error(rows.k, through(*codec, meta_of(shape, 901), rows).k), 0.01) << "turned back by the wrong positions";
  const Rows coded = through(*make_references("palu-50-4", 1, &bases).value().front(), meta_of(shape, 900), rows);
  EXPECT_LT(error(rows.k, coded.k), 0.02);
  EXPECT_LT(error(rows.v, coded.v), 0.02);
  // Plain codes of half the bits of a number, which take as much.
  const Rows kivi = through(*make("kivi-2", shape), meta_of(shape, 900), rows);
  EXPECT_LT(error(rows.k, coded.k), error(rows.k, kivi.k));
  EXPECT_LT(error(rows.v, coded.v), error(rows.v, kivi.v));
}

TEST(Palu, CountsCoordinatesAndTheirScales) {
  // Groups of four heads and of one: 256 and 64 dims, of which 128 and 32, or 179 and 45, are held.
  const Shape shape{17, 5, 64};
  EXPECT_EQ(counted(*make("palu-50", shape), meta_of(shape)), 96U + 2 * 17 * (128 + 32) * 2);
  EXPECT_EQ(counted(*make("palu-30", shape), meta_of(shape)), 96U + 2 * 17 * (179 + 45) * 2);
  EXPECT_EQ(counted(*make("palu-50-3", shape), meta_of(shape)),
            96U + 2 * (17 * 128 * 3 / 8 + 17 * 32 * 3 / 8 + 2 * 17 * 4));
}

TEST(Palu, RefusesPagesOfAnotherShape) {
  const auto codec = make("palu-50", {1, 2, 64});
  const std::vector<float> rows(64);
  AlignedBuffer page(codec->page_bytes(1, 64, 1));
  EXPECT_EQ(codec->encode_page(meta_of({1, 1, 64}), rows.data(), rows.data(), page.span()).code(),
            StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace recalld::bench
