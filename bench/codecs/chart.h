// What bench/codecs shows besides its figures: a Markdown table and a plot of KL against bits.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "bench/codecs/quality.h"

namespace recalld::bench {

// One text read by one model through every cache; the first one is the reference.
struct QualityRun {
  std::string model, text;  // as they are shown
  size_t n_tokens = 0;
  std::vector<Quality> caches;
};

// One table per run: bits per number and what a cache costs, in the order of the run.
std::string quality_markdown(std::span<const QualityRun> runs);

// Indices of the caches that no other of the run beats in both bits and KL, by bits; the reference, which is compared
// with itself, is left out. Of two equal ones the first.
std::vector<size_t> pareto_front(std::span<const Quality> caches);

// One panel per run: bits per number across, KL (logarithmic) up, the Pareto front as a line. Caches that are not
// told from the reference (KL 0) are not drawn.
std::string quality_plot(std::span<const QualityRun> runs);

}  // namespace recalld::bench
