// Confidence intervals of a ratio of means by resampling (Efron's percentile bootstrap).
#pragma once

#include <cstdint>
#include <span>

namespace recalld::bench {

// One question: what it adds to the numerator and to the denominator, and which conversation it is about.
struct RatioSample {
  double numerator = 0;
  double denominator = 1;
  int cluster = 0;
};

struct Interval {
  double low = 0, high = 0;
};

struct BootstrapOptions {
  int resamples = 2000;
  uint64_t seed = 1;
  double level = 0.95;
};

// sum of numerators / sum of denominators; 0 without samples. With denominators of 1 it is the mean.
double ratio_of_means(std::span<const RatioSample> samples);

// Questions are drawn with replacement, numerator and denominator together. Equal samples and seed give equal
// intervals.
Interval bootstrap(std::span<const RatioSample> samples, const BootstrapOptions& options);

// Whole conversations are drawn, each with all its questions: wider, as questions about one conversation are not
// independent. With few conversations it is a rough figure.
Interval cluster_bootstrap(std::span<const RatioSample> samples, const BootstrapOptions& options);

}  // namespace recalld::bench
