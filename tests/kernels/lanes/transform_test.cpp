#include "kernels/cuda/lane/transform.cuh"

#include <gtest/gtest.h>

#include "kernels/cuda/lane/page_number.cuh"
#include "kernels/reference/page_reader.h"
#include "kernels/rope.h"
#include "kernels/transform.h"
#include "tests/cuda/cases.h"
#include "tests/kernels/lanes/emulated_warp.h"

namespace recalld::kernels::cuda {
namespace {

// Every multiple of 16: all the ways of cutting a head_dim into blocks.
TEST(LaneTransform, HadamardAndItsInverseAreTheReferencesToTheBit) {
  const SignFlips flips = sign_flips(7);
  for (int dim = 16; dim <= kMaxHeadDim; dim += 16) {
    const std::vector<float> row = awkward_rows(1, dim, static_cast<unsigned>(dim));
    std::vector<float> forward(row.size()), backward = row, got_forward(row.size()), got_backward(row.size());
    reference::hadamard(flips, dim, 1, row.data(), static_cast<size_t>(dim), forward.data());
    reference::inverse_hadamard(flips, dim, 1, backward.data());
    const auto run = [&](bool inverse, std::vector<float>& to) {
      run_warps(1, [&](EmulatedWarp& warp) {
        float x[8];
        for (int i = 0; i < 8; ++i) {
          const int j = 32 * i + warp.lane();
          x[i] = j < dim ? row[static_cast<size_t>(j)] : 0.0F;
        }
        inverse ? inverse_transform_row(warp, dim, flips.sign, x) : transform_row(warp, dim, flips.sign, x);
        for (int i = 0; i < 8; ++i) {
          const int j = 32 * i + warp.lane();
          if (j < dim) to[static_cast<size_t>(j)] = x[i];
        }
      });
    };
    run(false, got_forward);
    run(true, got_backward);
    EXPECT_EQ(0, std::memcmp(forward.data(), got_forward.data(), forward.size() * sizeof(float))) << dim;
    EXPECT_EQ(0, std::memcmp(backward.data(), got_backward.data(), backward.size() * sizeof(float))) << dim;
  }
}

TEST(LaneTransform, RotationsAreTheCpusToTheBit) {
  for (const bool neox : {false, true}) {
    for (const int n_dims : {32, 64}) {
      RopeSpec spec{n_dims, neox, {}};
      for (int i = 0; i < n_dims / 2; ++i) spec.inv_freq.push_back(1.0F / static_cast<float>(1 + 3 * i));
      for (const int shift : {-12345, -1, 3, 40000}) {
        std::vector<float> turn;
        for (const float frequency : spec.inv_freq) {
          const double angle = static_cast<double>(shift) * static_cast<double>(frequency);
          turn.push_back(static_cast<float>(std::cos(angle)));
          turn.push_back(static_cast<float>(std::sin(angle)));
        }
        std::mt19937 random(3);
        std::normal_distribution<float> normal;
        std::vector<float> row(64), expected(64);
        for (float& x : row) x = normal(random);
        RopeShift(spec, shift).rotate(1, 64, row.data(), 64, expected.data());
        for (int j = 0; j < 64; ++j)
          EXPECT_EQ(expected[static_cast<size_t>(j)], rotated_number({n_dims, neox}, row.data(), turn.data(), j));
      }
    }
  }
}

TEST(LaneTransform, PagesDecodeToTheReferencesNumbers) {
  const LevelTables levels = level_tables();
  std::mt19937 random(4);
  for (const int dim : {64, 80, 96, 128, 256}) {
    std::vector<SideFormat> formats = coded_formats(dim);
    formats.push_back(one_band(16));
    for (size_t i = 0; i < formats.size(); ++i) {
      const int n = static_cast<int>(1 + i * 17 % 70);
      const CasePage page(random, n, dim, formats[i], formats[(i + 3) % formats.size()], i % 2 == 0);
      const reference::PageReader expected(page.slice, dim);
      for (int token = 0; token < n; ++token)
        for (int j = 0; j < dim; ++j) {
          ASSERT_EQ(expected.k(token, j), key_number(levels, page.slice, dim, token, j)) << name_of(formats[i]);
          ASSERT_EQ(expected.v(token, j), value_number(levels, page.slice, dim, token, j));
        }
    }
  }
}

}  // namespace
}  // namespace recalld::kernels::cuda
