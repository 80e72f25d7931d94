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

// Fastest time of each of the runs over the rounds, in ns per layer. What else the machine does only ever adds.
std::vector<double> fastest(int n_layers, const std::vector<std::function<void(int)>>& runs) {
  const SystemClock clock;
  std::vector<double> best(runs.size(), 1e300);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < runs.size(); ++i) {
      const int64_t begin = clock.monotonic_ns();
      for (int layer = 0; layer < n_layers; ++layer) runs[i](layer);
      best[i] = std::min(best[i], static_cast<double>(clock.monotonic_ns() - begin) / n_layers);
    }
  }
  return best;
}

// Times one problem at all widths and adds ns per key (of one KV head) and the ratios. name: of the 4-bit ratio.
void measure(Report& report, const std::string& name, const Problem& problem) {
  StockAttention stock(problem);
  OurAttention bits16(problem, 16), bits4(problem, 4), bits3(problem, 3), bits2(problem, 2);
  const std::vector<double> ns =
      fastest(problem.n_layers, {[&](int layer) { stock.run(layer); }, [&](int layer) { bits16.run(layer); },
                                 [&](int layer) { bits4.run(layer); }, [&](int layer) { bits3.run(layer); },
                                 [&](int layer) { bits2.run(layer); }});
  const double keys = static_cast<double>(problem.depth) * problem.n_kv_heads * problem.n_queries;
  const char* labels[] = {"ggml_f16", "f16", "tq4", "tq3", "tq2"};
  for (size_t i = 0; i < ns.size(); ++i) report.add(name + "_ns_" + labels[i], ns[i] / keys, "ns/key");
  report.add(name, ns[0] / ns[2], "x", "ggml f16 flash attention");
  report.add(name + "_f16_pages", ns[0] / ns[1], "x", "ggml f16 flash attention");
  report.add(name + "_tq3", ns[0] / ns[3], "x", "ggml f16 flash attention");
  report.add(name + "_tq2", ns[0] / ns[4], "x", "ggml f16 flash attention");
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
