// The CUDA kernels on a device, against the CPU. Carried to a machine with a GPU as it is: needs no library but libc's
// and the driver's. Without a device it says so and exits with the code that ctest counts as skipped.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>

#include "kernels/cuda/attend.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/encode.h"
#include "kernels/decode.h"
#include "tests/cuda/cases.h"
#include "tests/cuda/device_pages.h"

namespace recalld::kernels::cuda {
namespace {

constexpr int kSkipped = 77;
constexpr int kHeadDims[] = {64, 80, 96, 128, 256};

class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    auto stream = Stream::create();
    ASSERT_TRUE(stream.ok()) << stream.status().to_string();
    stream_ = std::make_unique<Stream>(std::move(stream).value());
  }

  template <class T>
  DeviceBuffer up(const std::vector<T>& values) {
    auto buffer = upload_all(*stream_, values.data(), values.size(), "a test");
    EXPECT_TRUE(buffer.ok()) << buffer.status().to_string();
    EXPECT_TRUE(stream_->synchronize().ok());
    return std::move(buffer).value();
  }

  template <class T>
  std::vector<T> down(const DeviceBuffer& buffer, size_t n) {
    std::vector<T> values(n);
    const Status status = stream_->download(values.data(), buffer.data(), n * sizeof(T));
    EXPECT_TRUE(status.ok()) << status.to_string();
    const Status done = stream_->synchronize();
    EXPECT_TRUE(done.ok()) << done.to_string();
    return values;
  }

  // The problems, equal in all but their pages and queries, in one launch.
  std::vector<HostState> attend_on_device(AttendKind kind, const std::vector<const AttendCase*>& problems) {
    const AttendCase& one = *problems.front();
    const int n_rows = one.n_rows(), head_dim = one.spec.head_dim;
    const size_t n = problems.size();
    std::vector<std::vector<PageSlice>> slices;
    std::vector<DeviceBuffer> owners;
    std::vector<float> q;
    std::vector<int32_t> positions;
    for (const AttendCase* problem : problems) {
      slices.emplace_back();
      for (size_t i = 0; i < problem->pages.size(); ++i) {
        auto page = upload_page(*stream_, problem->pages[i], head_dim);
        EXPECT_TRUE(page.ok()) << page.status().to_string();
        slices.back().push_back(page.value().slice);
        owners.push_back(std::move(page.value().memory));
      }
      q.insert(q.end(), problem->q.begin(), problem->q.end());
      positions.insert(positions.end(), problem->positions.begin(), problem->positions.end());
    }
    const DeviceBuffer q_memory = up(q), position_memory = up(positions);
    const size_t sums = n * static_cast<size_t>(n_rows), numbers = sums * head_dim * AttendCase::kSpaces;
    const DeviceBuffer m = up(std::vector<float>(sums)), l = up(std::vector<float>(sums));
    const DeviceBuffer acc = up(std::vector<float>(numbers));
    auto plan = AttendPlan::create(*stream_, kind, head_dim, AttendCase::kSpaces, slices);
    EXPECT_TRUE(plan.ok()) << plan.status().to_string();
    const DeviceQueries queries{one.spec.n_tokens, AttendCase::kVariants, position_memory.as<int32_t>(),
                                q_memory.as<float>()};
    const DeviceState state{m.as<float>(), l.as<float>(), acc.as<float>()};
    // Twice: the plan must be as it was after a launch.
    for (int i = 0; i < 2; ++i) {
      const Status status = kind == AttendKind::kDecode
                                ? attend_decode(*stream_, one.shape, queries, plan.value(), state)
                                : attend_block(*stream_, one.shape, queries, plan.value(), state);
      EXPECT_TRUE(status.ok()) << status.to_string();
    }
    const std::vector<float> all_m = down<float>(m, sums), all_l = down<float>(l, sums);
    const std::vector<float> all_acc = down<float>(acc, numbers);
    std::vector<HostState> states;
    for (size_t i = 0; i < n; ++i) {
      states.emplace_back(n_rows, head_dim, AttendCase::kSpaces);
      std::copy_n(all_m.begin() + static_cast<std::ptrdiff_t>(i * n_rows), n_rows, states.back().m.begin());
      std::copy_n(all_l.begin() + static_cast<std::ptrdiff_t>(i * n_rows), n_rows, states.back().l.begin());
      const size_t size = states.back().acc.size();
      std::copy_n(all_acc.begin() + static_cast<std::ptrdiff_t>(i * size), size, states.back().acc.begin());
    }
    return states;
  }

  std::unique_ptr<Stream> stream_;
};

TEST_F(OnDevice, DecodeAttentionIsTheReferences) {
  for (const int dim : kHeadDims) {
    for (const CaseSpec& spec : decode_cases(dim)) {
      CaseSpec other = spec;
      other.seed += 1000;
      const AttendCase first(spec), second(other);
      const auto got = attend_on_device(AttendKind::kDecode, {&first, &second});
      const bool halves = spec.k.halves() || spec.v.halves();
      for (const AttendCase* problem : {&first, &second}) {
        HostState expected(problem->n_rows(), dim, AttendCase::kSpaces);
        (halves ? reference::attend : reference::attend_decode)(problem->shape, problem->queries(), problem->pages,
                                                                expected.state());
        const Apart far = apart(got[problem == &first ? 0 : 1], expected);
        EXPECT_LE(far.output, halves ? 1e-4 : 2e-3) << spec.name();
        EXPECT_LE(far.log_sum, 1e-4) << spec.name();
      }
    }
  }
}

// Many tiles, many splits, pages of both kinds: what one small view does not reach.
TEST_F(OnDevice, ALongViewOfMixedPagesIsTheReferences) {
  for (const int dim : {64, 128}) {
    CaseSpec spec;
    spec.head_dim = dim;
    spec.k = one_band(4, dim);
    spec.v = one_band(3, dim);
    spec.page_tokens.assign(300, 64);
    AttendCase problem(spec);
    std::mt19937 random(9);
    for (size_t i = 0; i < problem.pages.size(); i += 7) {
      problem.owners.emplace_back(random, 64, dim, one_band(16), one_band(16), false);
      const PageSlice old = problem.pages[i];
      problem.pages[i] = problem.owners.back().slice;
      problem.pages[i].view_start = old.view_start;
      problem.pages[i].variant = old.variant;
      problem.pages[i].space = old.space;
    }
    HostState expected(problem.n_rows(), dim, AttendCase::kSpaces);
    reference::attend_decode(problem.shape, problem.queries(), problem.pages, expected.state());
    const auto got = attend_on_device(AttendKind::kDecode, {&problem});
    EXPECT_LE(apart(got[0], expected).output, 2e-3);
    EXPECT_LE(apart(got[0], expected).log_sum, 1e-4);
  }
}

TEST_F(OnDevice, BlockAttentionIsTheReferenceUpToHalves) {
  for (const int dim : kHeadDims) {
    for (CaseSpec spec : decode_cases(dim)) {
      spec.n_tokens = 5 + static_cast<int>(spec.seed) * 7 % 60;
      const AttendCase problem(spec);
      HostState expected(problem.n_rows(), dim, AttendCase::kSpaces);
      reference::attend(problem.shape, problem.queries(), problem.pages, expected.state());
      const auto got = attend_on_device(AttendKind::kBlock, {&problem});
      EXPECT_LE(apart(got[0], expected).output, 4e-3) << spec.name();
      EXPECT_LE(apart(got[0], expected).log_sum, 4e-3) << spec.name();
    }
  }
}

TEST_F(OnDevice, ARowThatIsNoNumberPoisonsItselfAlone) {
  for (const AttendKind kind : {AttendKind::kDecode, AttendKind::kBlock}) {
    CaseSpec spec;
    spec.k = spec.v = one_band(2, 64);
    spec.page_tokens = {64, 100, 64, 30};
    AttendCase problem(spec);
    problem.q[static_cast<size_t>((1 * problem.n_rows() + 2) * 64 + 7)] = NAN;
    const auto got = attend_on_device(kind, {&problem});
    for (int row = 0; row < problem.n_rows(); ++row) {
      EXPECT_EQ(row == 2, std::isnan(got[0].m[static_cast<size_t>(row)]));
      for (int i = 0; i < AttendCase::kSpaces; ++i)
        EXPECT_EQ(row == 2, std::isnan(got[0].acc[static_cast<size_t>((i * problem.n_rows() + row) * 64 + 5)]));
    }
  }
}

TEST_F(OnDevice, StatesMergeAsOnTheCpu) {
  const int n_rows = 6, dim = 80, n_spaces = 2;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  HostState a(n_rows, dim, n_spaces), b(n_rows, dim, n_spaces);
  for (HostState* state : {&a, &b}) {
    for (float& x : state->m) x = normal(random);
    for (float& x : state->l) x = 1 + std::fabs(normal(random));
    for (float& x : state->acc) x = normal(random);
  }
  b.m[3] = a.m[4] = -INFINITY;
  const DeviceBuffer am = up(a.m), al = up(a.l), aacc = up(a.acc), bm = up(b.m), bl = up(b.l), bacc = up(b.acc);
  ASSERT_TRUE(merge_states(*stream_, {am.as<float>(), al.as<float>(), aacc.as<float>()},
                           {bm.as<float>(), bl.as<float>(), bacc.as<float>()}, 1, n_rows, n_spaces, dim)
                  .ok());
  HostState got(n_rows, dim, n_spaces);
  got.m = down<float>(am, got.m.size());
  got.l = down<float>(al, got.l.size());
  got.acc = down<float>(aacc, got.acc.size());
  for (int row = 0; row < n_rows; ++row) {
    const auto at = static_cast<size_t>(row);
    const float m = std::max(a.m[at], b.m[at]);
    EXPECT_EQ(m, got.m[at]);
    const float l = (a.m[at] == -INFINITY ? 0 : std::exp(a.m[at] - m) * a.l[at]) +
                    (b.m[at] == -INFINITY ? 0 : std::exp(b.m[at] - m) * b.l[at]);
    EXPECT_NEAR(l, got.l[at], 1e-5F * l);
  }
}

TEST_F(OnDevice, EncodingIsTheReferencesToTheBit) {
  const SignFlips flips = sign_flips(42);
  int turn = 0;
  for (const int dim : kHeadDims) {
    for (const SideFormat& format : coded_formats(dim)) {
      const int n = std::vector<int>{1, 3, 16, 17, 63, 64, 100, 256}[static_cast<size_t>(++turn % 8)];
      EncodeSpec spec;
      spec.format = format;
      spec.rule = static_cast<ScaleRule>(turn % 3);
      spec.flips = turn % 4 == 0 ? nullptr : &flips;
      spec.head_dim = dim;
      spec.clip = turn % 2 == 0 ? 1.0 : 0.95;
      const std::vector<float> rows = awkward_rows(n, dim, static_cast<unsigned>(turn));
      std::vector<uint16_t> mean(static_cast<size_t>(dim));
      std::vector<float> value(mean.size());
      reference::transformed_mean(flips, dim, n, rows.data(), static_cast<size_t>(dim), mean.data(), value.data());
      const DeviceBuffer row_memory = up(rows), mean_memory = up(mean);
      auto encoder = Encoder::create(*stream_, {spec, spec});
      ASSERT_TRUE(encoder.ok()) << encoder.status().to_string();
      EncodeList list;

      if (spec.flips != nullptr) {
        const DeviceBuffer got_mean = up(std::vector<uint16_t>(mean.size(), 0xffff));
        EncodeRows job;
        job.page_tokens = job.n_rows = n;
        job.rows = row_memory.as<float>();
        job.stride = dim;
        job.mean = got_mean.as<uint16_t>();
        ASSERT_TRUE(list.set(*stream_, {&job, 1}).ok());
        ASSERT_TRUE(encoder.value().means(*stream_, list).ok());
        EXPECT_EQ(mean, down<uint16_t>(got_mean, mean.size()));
      }

      for (const bool keys : {true, false}) {
        std::vector<uint8_t> codes(side_bytes(n, dim, format));
        std::vector<uint8_t> scales(scales_bytes(format, n));
        std::vector<uint16_t> offsets(static_cast<size_t>(padded_tokens(n)));
        const DeviceBuffer got_codes = up(std::vector<uint8_t>(codes.size(), 0xff));
        const DeviceBuffer got_scales = up(scales), got_offsets = up(offsets);
        const CodedSide out{codes.data(), scales.data(), format.offsets ? offsets.data() : nullptr};
        if (keys)
          reference::encode_keys(spec, n, rows.data(), static_cast<size_t>(dim), value.data(), out);
        else
          reference::encode_values(spec, n, rows.data(), static_cast<size_t>(dim), out);
        EncodeRows job;
        job.side = keys ? PageSide::kKeys : PageSide::kValues;
        job.page_tokens = n;
        job.stride = dim;
        job.mean = keys ? mean_memory.as<uint16_t>() : nullptr;
        job.out = {got_codes.as<uint8_t>(), got_scales.as<uint8_t>(),
                   format.offsets ? got_offsets.as<uint16_t>() : nullptr};
        // Every other format in two calls: a part in bulk, then one token at a time.
        const int bulk = turn % 2 == 0 ? n : (n + 1) / 2;
        if (bulk < n) {
          ASSERT_TRUE(stream_->clear(got_codes.data(), codes.size()).ok());
        }
        for (int first = 0; first < n;) {
          job.first = first;
          job.n_rows = first == 0 ? bulk : 1;
          job.rows = row_memory.as<float>() + static_cast<std::ptrdiff_t>(first) * dim;
          ASSERT_TRUE(list.set(*stream_, {&job, 1}).ok());
          ASSERT_TRUE(encoder.value().encode(*stream_, list).ok());
          first += job.n_rows;
        }
        EXPECT_EQ(codes, down<uint8_t>(got_codes, codes.size())) << name_of(format) << " dim " << dim << " n " << n;
        EXPECT_EQ(scales, down<uint8_t>(got_scales, scales.size())) << name_of(format) << " dim " << dim;
        EXPECT_EQ(offsets, down<uint16_t>(got_offsets, offsets.size()));
      }
    }
  }
}

TEST_F(OnDevice, HadamardIsTheReferencesToTheBit) {
  const SignFlips flips = sign_flips(7);
  for (int dim = 16; dim <= kMaxHeadDim; dim += 16) {
    const int n = 37;
    const std::vector<float> rows = awkward_rows(n, dim, 8);
    const DeviceBuffer sign = up(std::vector<float>(flips.sign, flips.sign + dim));
    for (const bool inverse : {false, true}) {
      std::vector<float> expected = rows;
      if (inverse)
        reference::inverse_hadamard(flips, dim, n, expected.data());
      else
        reference::hadamard(flips, dim, n, rows.data(), static_cast<size_t>(dim), expected.data());
      const DeviceBuffer memory = up(rows);
      ASSERT_TRUE(hadamard(*stream_, sign.as<float>(), dim, n, memory.as<float>(), inverse).ok());
      const std::vector<float> got = down<float>(memory, rows.size());
      for (size_t i = 0; i < got.size(); ++i)
        ASSERT_TRUE(got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i]))) << dim << " at " << i;
    }
  }
}

TEST_F(OnDevice, PagesDecodeToTheReferencesNumbers) {
  std::mt19937 random(4);
  for (const int dim : kHeadDims) {
    std::vector<SideFormat> formats = coded_formats(dim);
    formats.push_back(one_band(16));
    for (size_t i = 0; i < formats.size(); ++i) {
      const int n = static_cast<int>(1 + i * 17 % 256);
      const CasePage page(random, n, dim, formats[i], formats[(i + 3) % formats.size()], i % 2 == 0);
      auto on_device = upload_page(*stream_, page.slice, dim);
      ASSERT_TRUE(on_device.ok());
      const auto numbers = static_cast<size_t>(n * dim);
      for (const bool keys : {true, false}) {
        std::vector<float> expected(numbers);
        (keys ? decode_keys : decode_values)(page.slice, dim, expected.data(), static_cast<size_t>(dim));
        const DeviceBuffer out = up(std::vector<uint16_t>(numbers));
        const DeviceBuffer outs = up(std::vector<uint16_t*>{out.as<uint16_t>()});
        const DeviceBuffer slices = up(std::vector<PageSlice>{on_device.value().slice});
        ASSERT_TRUE(decode_to_halves(*stream_, keys ? PageSide::kKeys : PageSide::kValues, dim, slices.as<PageSlice>(),
                                     1, outs.as<uint16_t*>())
                        .ok());
        const std::vector<uint16_t> got = down<uint16_t>(out, numbers);
        // A fused addition of an offset or mean may tip the last bit.
        for (size_t at = 0; at < numbers; ++at)
          ASSERT_NEAR(half_to_float(got[at]), expected[at], 1e-3 * (0.01 + std::fabs(expected[at])))
              << name_of(formats[i]);
      }
    }
  }
}

TEST_F(OnDevice, QueryVariantsAreTheCpus) {
  const SignFlips flips = sign_flips(5);
  const int dim = 96, n_rows = 5;
  const RopeSpec rope{64, true, std::vector<float>(32, 0.25F)};
  const std::vector<int32_t> shifts{0, -700, 12345};
  const std::vector<float> rows = awkward_rows(n_rows, dim, 6);
  const DeviceBuffer q = up(rows), turns = up(rope_turns(rope, shifts));
  const DeviceBuffer sign = up(std::vector<float>(flips.sign, flips.sign + dim));
  const DeviceBuffer out = up(std::vector<float>(rows.size() * shifts.size()));
  ASSERT_TRUE(make_variants(*stream_, 1, 3, n_rows, dim, rope, turns.as<float>(), sign.as<float>(), q.as<float>(),
                            out.as<float>())
                  .ok());
  const std::vector<float> got = down<float>(out, rows.size() * shifts.size());
  for (size_t i = 0; i < shifts.size(); ++i) {
    std::vector<float> expected(rows.size());
    RopeShift(rope, shifts[i]).rotate(n_rows, dim, rows.data(), static_cast<size_t>(dim), expected.data());
    reference::hadamard(flips, dim, n_rows, expected.data(), static_cast<size_t>(dim), expected.data());
    for (size_t at = 0; at < rows.size(); ++at) {
      const float x = got[i * rows.size() + at];
      ASSERT_TRUE(x == expected[at] || (std::isnan(x) && std::isnan(expected[at]))) << i << " at " << at;
    }
  }
}

TEST_F(OnDevice, PagesAreGathered) {
  std::vector<uint8_t> bytes(4096);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 256);
  const DeviceBuffer from = up(bytes), to = up(std::vector<uint8_t>(bytes.size()));
  const std::vector<PageCopy> copies = {{from.as<uint8_t>() + 1024, to.as<uint8_t>(), 3072},
                                        {from.as<uint8_t>(), to.as<uint8_t>() + 3072, 1024}};
  const DeviceBuffer list = up(copies);
  ASSERT_TRUE(gather_pages(*stream_, list.as<PageCopy>(), 2).ok());
  std::vector<uint8_t> expected(bytes.begin() + 1024, bytes.end());
  expected.insert(expected.end(), bytes.begin(), bytes.begin() + 1024);
  EXPECT_EQ(expected, down<uint8_t>(to, bytes.size()));
}

TEST_F(OnDevice, ImpossiblePagesAreRefused) {
  std::mt19937 random(1);
  const CasePage page(random, 64, 64, one_band(4, 64), one_band(4, 64), false);
  auto good = upload_page(*stream_, page.slice, 64);
  ASSERT_TRUE(good.ok());
  const auto refused = [&](auto change) {
    PageSlice slice = good.value().slice;
    change(slice);
    const std::vector<std::vector<PageSlice>> problems{{slice}};
    return AttendPlan::create(*stream_, AttendKind::kDecode, 64, 1, problems).status().message();
  };
  EXPECT_EQ("", refused([](PageSlice&) {}));
  EXPECT_NE("", refused([](PageSlice& s) { s.k_format.bands[0].bits = 5; }));
  EXPECT_NE("", refused([](PageSlice& s) { s.v += 8; }));
  EXPECT_NE("", refused([](PageSlice& s) { s.k_scale = nullptr; }));
  EXPECT_NE("", refused([](PageSlice& s) { s.space = 1; }));
  EXPECT_NE("", refused([](PageSlice& s) { s.n_tokens = 257; }));
}

}  // namespace
}  // namespace recalld::kernels::cuda

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (recalld::kernels::cuda::devices().empty()) {
    std::puts("SKIPPED: no CUDA device. None of the CUDA kernels has run.");
    return recalld::kernels::cuda::kSkipped;
  }
  for (const auto& device : recalld::kernels::cuda::devices())
    std::printf("device: %s, compute capability %d.%d\n", device.name.c_str(), device.major, device.minor);
  return RUN_ALL_TESTS();
}
