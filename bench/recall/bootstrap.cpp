#include "bench/recall/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <vector>

namespace recalld::bench {
namespace {

struct Sums {
  double numerator = 0, denominator = 0;
  double ratio() const { return denominator == 0 ? 0 : numerator / denominator; }
};

// Draws as many of `groups` as there are, with replacement, `resamples` times.
Interval resample(const std::vector<Sums>& groups, const BootstrapOptions& options) {
  if (groups.empty() || options.resamples < 1) return {};
  std::mt19937_64 random(options.seed);
  std::vector<double> ratios;
  ratios.reserve(static_cast<size_t>(options.resamples));
  for (int i = 0; i < options.resamples; ++i) {
    Sums sums;
    for (size_t j = 0; j < groups.size(); ++j) {
      // Not uniform_int_distribution, whose draws differ between standard libraries.
      const Sums& drawn = groups[random() % groups.size()];
      sums.numerator += drawn.numerator;
      sums.denominator += drawn.denominator;
    }
    ratios.push_back(sums.ratio());
  }
  std::sort(ratios.begin(), ratios.end());
  const double tail = (1 - options.level) / 2 * static_cast<double>(ratios.size() - 1);
  const auto low = static_cast<size_t>(std::lround(tail));
  return {ratios[low], ratios[ratios.size() - 1 - low]};
}

}  // namespace

double ratio_of_means(std::span<const RatioSample> samples) {
  Sums sums;
  for (const RatioSample& sample : samples) {
    sums.numerator += sample.numerator;
    sums.denominator += sample.denominator;
  }
  return sums.ratio();
}

Interval bootstrap(std::span<const RatioSample> samples, const BootstrapOptions& options) {
  std::vector<Sums> groups;
  groups.reserve(samples.size());
  for (const RatioSample& sample : samples) groups.push_back({sample.numerator, sample.denominator});
  return resample(groups, options);
}

Interval cluster_bootstrap(std::span<const RatioSample> samples, const BootstrapOptions& options) {
  std::map<int, Sums> clusters;
  for (const RatioSample& sample : samples) {
    clusters[sample.cluster].numerator += sample.numerator;
    clusters[sample.cluster].denominator += sample.denominator;
  }
  std::vector<Sums> groups;
  groups.reserve(clusters.size());
  for (const auto& [cluster, sums] : clusters) groups.push_back(sums);
  return resample(groups, options);
}

}  // namespace recalld::bench
