// StreamingLLM (arXiv 2309.17453): the first tokens and the newest.
#pragma once

#include "bench/recall/arms/arm.h"

namespace recalld::bench {

// As episodes/policies has it, at original positions, where the history fits the window. A longer history is read with
// the first tokens and the newest at compact positions, which is the paper's own rule, and asked the same way.
std::unique_ptr<Arm> make_streaming_arm(int budget);

}  // namespace recalld::bench
