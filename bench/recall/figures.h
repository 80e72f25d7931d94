// The figures of a run for bench/report.h.
#pragma once

#include <vector>

#include "bench/recall/options.h"
#include "bench/recall/summary.h"
#include "bench/report.h"

namespace recalld::bench {

// recovery_ARM_MODEL, bytes_touched_..., bytes_held_..., ttft_..., build_tokens_..., coverage_... and more. An arm with
// a budget has each with "_<budget>" behind it; without a suffix they are those of the largest budget.
void add_figures(const Options& options, const std::vector<ModelSummary>& models, Report* report);

}  // namespace recalld::bench
