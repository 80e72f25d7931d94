// Attention over pages against ggml's flash attention over f16, one thread each, taking turns in one process: only the
// ratios mean something on a shared machine.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
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

// Times one problem at all widths: ns per query token and key of one KV head, and the median over the rounds of stock
// time by ours. name: of the 4-bit ratio.
void measure(Report& report, const std::string& name, const Problem& problem) {
  StockAttention stock(problem);
  OurAttention tq4(problem, kernels::one_band(4)), tq3(problem, kernels::one_band(3)),
      tq2(problem, kernels::one_band(2)), f16(problem, kernels::one_band(16)),
      bands(problem, two_bit_bands(problem.head_dim)), affine(problem, kernels::affine_band(2));
  const auto ns = times(problem.n_layers, {[&](int layer) { stock.run(layer); }, [&](int layer) { tq4.run(layer); },
                                           [&](int layer) { tq3.run(layer); }, [&](int layer) { tq2.run(layer); },
                                           [&](int layer) { f16.run(layer); }, [&](int layer) { bands.run(layer); },
                                           [&](int layer) { affine.run(layer); }});
  const double keys = static_cast<double>(problem.depth) * problem.n_kv_heads * problem.n_queries;
  const char* suffixes[] = {"_ggml", "", "_tq3", "_tq2", "_f16_pages", "_bands2", "_affine2"};
  for (size_t i = 0; i < ns.size(); ++i) {
    report.add(name + suffixes[i] + "_ns", median(ns[i]) / keys, "ns/key");
    if (i == 0) continue;
    std::vector<double> ratios;
    for (int round = 0; round < kRounds; ++round) ratios.push_back(ns[0][round] / ns[i][round]);
    report.add(name + suffixes[i], median(ratios), "x", "ggml f16 flash attention");
  }
}

int run() {
  Report report("kernels", "");
  // In the caches: one layer of 1,024 keys. Beyond them: layers of 8,192 keys, more than 64 MB of f16.
  measure(report, "attend_vs_f16_d64_cached", {64, 9, 3, 1024, 1, 1});
  measure(report, "attend_vs_f16_d64", {64, 9, 3, 8192, 1, 12});
  measure(report, "attend_vs_f16_d128_cached", {128, 8, 2, 1024, 1, 1});
  measure(report, "attend_vs_f16_d128", {128, 8, 2, 8192, 1, 10});
  measure(report, "block_vs_f16_d64", {64, 9, 3, 4096 + 256, 256, 1});
  measure(report, "block_vs_f16_d128", {128, 8, 2, 4096 + 256, 256, 1});
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
