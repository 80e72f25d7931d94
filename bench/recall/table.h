// The Markdown table of a run.
#pragma once

#include <string>
#include <vector>

#include "bench/recall/options.h"
#include "bench/recall/summary.h"

namespace recalld::bench {

// "last 1024", or the name alone where there is no budget.
std::string arm_title(const ArmSummary& arm);

// "147 MiB", "8.2 MiB", "37 KiB".
std::string spoken_bytes(double bytes);

std::string markdown(const Options& options, const std::vector<ModelSummary>& models);

}  // namespace recalld::bench
