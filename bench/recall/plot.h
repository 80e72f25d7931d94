// Recovery against bytes touched, as an SVG.
#pragma once

#include <string>
#include <vector>

#include "bench/recall/summary.h"

namespace recalld::bench {

// One panel per model: across, bytes that a question touches as a share of the full cache in 16 bits (logarithmic);
// up, recovery with its interval over questions. Arms that touch nothing or have no recovery are not drawn.
std::string svg_plot(const std::vector<ModelSummary>& models);

}  // namespace recalld::bench
