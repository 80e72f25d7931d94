// Attention over pages against ggml's flash attention over f16 and q4_0, and coding against copying; one thread each,
// taking turns in one process: only the ratios mean something on a shared machine.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "bench/kernels/encode.h"
#include "bench/kernels/ours.h"
#include "bench/kernels/stock.h"
#include "bench/report.h"

namespace recalld::bench {
namespace {

constexpr int kRounds = 15;

// Times of each run in ns per layer, [run][round]. The runs take turns, so that a round's times can be compared.
std::vector<std::vector<double>> times(int n_layers, const std::vector<std::function<void(int)>>& runs) {
  const SystemClock clock;
  std::vector<std::vector<double>> ns(runs.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < runs.size(); ++i) {
      const int64_t begin = clock.monotonic_ns();
      for (int layer = 0; layer < n_layers; ++layer) runs[i](layer);
      ns[i].push_back(static_cast<double>(clock.monotonic_ns() - begin) / n_layers);
    }
  }
  return ns;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A quarter of the dims with 4 bits, a half with 2, a quarter not stored: 2 bits per number.
kernels::SideFormat two_bit_bands(int head_dim) {
  kernels::SideFormat format;
  format.n_bands = 3;
  format.bands[0] = {4, static_cast<int16_t>(head_dim / 4)};
  format.bands[1] = {2, static_cast<int16_t>(head_dim / 2)};
  format.bands[2] = {0, static_cast<int16_t>(head_dim / 4)};
  return format;
}

kernels::SideFormat trellis(int bits) {
  kernels::SideFormat format = kernels::one_band(bits);
  format.grid = kernels::Grid::kTrellis;
  return format;
}

struct Timed {
  std::string suffix;  // of the figures' names
  std::function<void(int)> run;
};

// ns per query token and key of one KV head, and the median over the rounds of ggml's times, and of ours over 16-bit
// pages, by each of ours: attend_vs_f16_NAME is of 4 bits.
void measure(Report& report, const std::string& kind, const std::string& name, const Problem& problem) {
  StockAttention f16(problem, StockCache::kF16), q4_0(problem, StockCache::kQ4_0);
  OurAttention tq4(problem, kernels::one_band(4)), tq3(problem, kernels::one_band(3)),
      tq2(problem, kernels::one_band(2)), halves(problem, kernels::one_band(16)),
      bands(problem, two_bit_bands(problem.head_dim)), affine(problem, kernels::affine_band(2)),
      trellis4(problem, trellis(4)), trellis3(problem, trellis(3)), trellis2(problem, trellis(2));
  const std::vector<Timed> timed = {{"_ggml_f16", [&](int layer) { f16.run(layer); }},
                                    {"_ggml_q4_0", [&](int layer) { q4_0.run(layer); }},
                                    {"", [&](int layer) { tq4.run(layer); }},
                                    {"_tq3", [&](int layer) { tq3.run(layer); }},
                                    {"_tq2", [&](int layer) { tq2.run(layer); }},
                                    {"_f16_pages", [&](int layer) { halves.run(layer); }},
                                    {"_bands2", [&](int layer) { bands.run(layer); }},
                                    {"_affine2", [&](int layer) { affine.run(layer); }},
                                    {"_trellis4", [&](int layer) { trellis4.run(layer); }},
                                    {"_trellis3", [&](int layer) { trellis3.run(layer); }},
                                    {"_trellis2", [&](int layer) { trellis2.run(layer); }}};
  std::vector<std::function<void(int)>> runs;
  for (const Timed& one : timed) runs.push_back(one.run);
  const auto ns = times(problem.n_layers, runs);
  const double keys = static_cast<double>(problem.depth) * problem.n_kv_heads * problem.n_queries;
  for (size_t i = 0; i < timed.size(); ++i)
    report.add(kind + "_" + name + timed[i].suffix + "_ns", median(ns[i]) / keys, "ns/key");
  const auto compare = [&](size_t base, const std::string& against, const std::string& what) {
    for (size_t i = 2; i < timed.size(); ++i) {
      if (i == base) continue;
      std::vector<double> ratios;
      for (int round = 0; round < kRounds; ++round) ratios.push_back(ns[base][round] / ns[i][round]);
      report.add(kind + "_vs_" + against + "_" + name + timed[i].suffix, median(ratios), "x", what);
    }
  };
  compare(0, "f16", "ggml f16 flash attention");
  compare(1, "q4_0", "ggml q4_0 flash attention");
  compare(5, "f16_pages", "our attention over 16-bit pages");
}

// Times of coding by those of copying the same rows of 32-bit numbers; less is better.
void measure_encoding(Report& report, int head_dim) {
  EncodeProblem problem(head_dim);
  const auto tq4 = quant::make_codec("turboquant-4").value(), tq2 = quant::make_codec("turboquant-2").value();
  const auto ns = times(1, {[&](int) { problem.copy(); }, [&](int) { problem.encode(*tq4); },
                            [&](int) { problem.encode(*tq2); }, [&](int) { problem.encode_q4_0(); },
                            [&](int) { problem.encode_trellis(4); }, [&](int) { problem.encode_trellis(2); }});
  const char* names[] = {"memcpy", "encode", "encode_tq2", "encode_ggml_q4_0", "encode_trellis4", "encode_trellis2"};
  const std::string dim = "_d" + std::to_string(head_dim);
  for (size_t i = 0; i < ns.size(); ++i) {
    report.add(names[i] + dim + "_ns", median(ns[i]) / static_cast<double>(problem.n_vectors()), "ns/vector");
    if (i == 0) continue;
    std::vector<double> ratios;
    for (int round = 0; round < kRounds; ++round) ratios.push_back(ns[i][round] / ns[0][round]);
    const std::string name = std::string(names[i]).substr(6);  // less "encode"
    report.add("encode_vs_memcpy" + name + dim, median(ratios), "x", "memcpy of the same rows");
  }
}

int run() {
  Report report("kernels", "");
  // In the caches: one layer of 1,024 keys. Beyond them: layers of 8,192 keys, more than 64 MB of f16.
  measure(report, "attend", "d64_cached", {64, 9, 3, 1024, 1, 1});
  measure(report, "attend", "d64", {64, 9, 3, 8192, 1, 12});
  measure(report, "attend", "d128_cached", {128, 8, 2, 1024, 1, 1});
  measure(report, "attend", "d128", {128, 8, 2, 8192, 1, 10});
  measure(report, "block", "d64", {64, 9, 3, 4096 + 256, 256, 1});
  measure(report, "block", "d128", {128, 8, 2, 4096 + 256, 256, 1});
  measure_encoding(report, 64);
  measure_encoding(report, 128);
  return report.finish();
}

}  // namespace
}  // namespace recalld::bench

int main() {
  try {
    return recalld::bench::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 1;
  }
}
