#include "kernels/cuda/lane/encode.cuh"

#include <gtest/gtest.h>

#include <memory>

#include "tests/cuda/cases.h"
#include "tests/kernels/lanes/emulated_warp.h"

namespace recalld::kernels::cuda {
namespace {

constexpr int kHeadDims[] = {64, 80, 96, 128, 256};
const SignFlips kFlips = sign_flips(42);

struct Side {
  std::vector<uint8_t> codes, scales;
  std::vector<uint16_t> offsets;

  Side(int n, int head_dim, const SideFormat& format, uint8_t fill)
      : codes(side_bytes(n, head_dim, format), fill),
        scales(static_cast<size_t>(format.n_scales() * padded_tokens(n) * format.scale_bytes()), fill),
        offsets(format.offsets ? static_cast<size_t>(padded_tokens(n)) : 0, fill) {}
  CodedSide out() { return {codes.data(), scales.data(), offsets.empty() ? nullptr : offsets.data()}; }
  bool operator==(const Side&) const = default;
};

EncodeArgs args_of(const EncodeSpec& spec) {
  EncodeArgs args;
  for (EncodeSide& side : args.side) side = {spec.format, spec.rule, clip_rank(spec.clip, spec.head_dim)};
  args.head_dim = spec.head_dim;
  args.sign = spec.flips == nullptr ? nullptr : spec.flips->sign;
  args.books = codebooks();
  args.search = search_tables();
  return args;
}

void encode_by_warps(const EncodeSpec& spec, const EncodeJob& job) {
  const EncodeArgs args = args_of(spec);
  const auto run = [&](auto memory) {
    for (int stripe = job.first / kStripe; stripe <= (job.first + job.n_rows - 1) / kStripe; ++stripe)
      run_warps(1, [&](EmulatedWarp& warp) { encode_stripe(warp, args, job, stripe, *memory); });
  };
  // Other sides are coded by this kernel, too, where they stand beside one on the trellis grid.
  if (spec.format.grid == Grid::kTrellis || spec.head_dim == 96)
    run(std::make_unique<EncodeMemory<8, true>>());
  else
    run(std::make_unique<EncodeMemory<8, false>>());
}

EncodeJob job_of(const std::vector<float>& rows, int stride, int n, const std::vector<uint16_t>& mean, int side,
                 Side& to) {
  EncodeJob job;
  job.rows = rows.data();
  job.stride = stride;
  job.mean = side == 0 ? mean.data() : nullptr;
  job.codes = to.codes.data();
  job.scales = to.scales.data();
  job.offsets = to.offsets.empty() ? nullptr : to.offsets.data();
  job.page_tokens = job.n_rows = n;
  job.side = side;
  return job;
}

TEST(LaneEncode, BulkIsTheReferenceToTheBit) {
  int turn = 0;
  for (const int dim : kHeadDims) {
    for (const SideFormat& format : coded_formats(dim)) {
      const int n = std::vector<int>{1, 3, 16, 17, 63, 64, 100}[static_cast<size_t>(turn % 7)];
      EncodeSpec spec;
      spec.format = format;
      spec.rule = static_cast<ScaleRule>(turn % 3);
      spec.flips = turn % 4 == 0 ? nullptr : &kFlips;
      spec.head_dim = dim;
      spec.clip = turn % 2 == 0 ? 1.0 : 0.95;
      const int stride = dim + 16;
      const std::vector<float> rows = awkward_rows(n, stride, static_cast<unsigned>(++turn));
      std::vector<uint16_t> mean(static_cast<size_t>(dim));
      std::vector<float> value(mean.size());
      reference::transformed_mean(kFlips, dim, n, rows.data(), static_cast<size_t>(stride), mean.data(), value.data());
      for (const int side : {0, 1}) {
        // A fresh page is cleared; what follows shows any byte that a whole page leaves as it was.
        Side expected(n, dim, format, 0xff), got(n, dim, format, 0xff);
        if (side == 0)
          reference::encode_keys(spec, n, rows.data(), static_cast<size_t>(stride), value.data(), expected.out());
        else
          reference::encode_values(spec, n, rows.data(), static_cast<size_t>(stride), expected.out());
        encode_by_warps(spec, job_of(rows, stride, n, mean, side, got));
        EXPECT_EQ(expected, got) << "dim " << dim << " " << name_of(format) << " n " << n << " side " << side;
      }
    }
  }
}

TEST(LaneEncode, AppendedTokensAreTheBulksToTheBit) {
  for (const int dim : {64, 128}) {
    for (const SideFormat& format : coded_formats(dim)) {
      const int n = 43;
      EncodeSpec spec;
      spec.format = format;
      spec.flips = &kFlips;
      spec.head_dim = dim;
      const std::vector<float> rows = awkward_rows(n, dim, 77);
      std::vector<uint16_t> mean(static_cast<size_t>(dim));
      std::vector<float> value(mean.size());
      reference::transformed_mean(kFlips, dim, n, rows.data(), static_cast<size_t>(dim), mean.data(), value.data());
      for (const int side : {0, 1}) {
        Side bulk(n, dim, format, 0), appended(n, dim, format, 0);
        encode_by_warps(spec, job_of(rows, dim, n, mean, side, bulk));
        int done = 0;
        for (const int step : {1, 1, 3, 11, 1, 15, 1, 10}) {
          EncodeJob job = job_of(rows, dim, n, mean, side, appended);
          job.rows += done * dim;
          job.first = done;
          job.n_rows = step;
          encode_by_warps(spec, job);
          done += step;
        }
        ASSERT_EQ(n, done);
        EXPECT_EQ(bulk, appended) << "dim " << dim << " " << name_of(format) << " side " << side;
      }
    }
  }
}

TEST(LaneEncode, MeansAreTheReferencesToTheBit) {
  for (const int dim : kHeadDims) {
    for (const int n : {1, 17, 64}) {
      const std::vector<float> rows = awkward_rows(n, dim, 5);
      std::vector<uint16_t> expected(static_cast<size_t>(dim)), got(expected.size());
      std::vector<float> value(expected.size());
      reference::transformed_mean(kFlips, dim, n, rows.data(), static_cast<size_t>(dim), expected.data(), value.data());
      run_warps(1,
                [&](EmulatedWarp& warp) { mean_of_rows<8>(warp, dim, kFlips.sign, rows.data(), dim, n, got.data()); });
      EXPECT_EQ(expected, got) << dim << " n " << n;
    }
  }
}

}  // namespace
}  // namespace recalld::kernels::cuda
