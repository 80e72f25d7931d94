// How often all the evidence of a question is among the chosen segments.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/retrieval/arms.h"
#include "bench/retrieval/history.h"

namespace recalld::bench {

struct Coverage {
  std::vector<double> share;  // of the questions, by budget
  int n_questions = 0;
};

// Questions of the categories 1, 2 and 4 whose evidence is known and lies in what was told: the prefix of each history,
// or the whole of it. w: turns of a segment.
Result<Coverage> measure_coverage(std::span<const History> histories, const Arm& arm, int w, bool whole,
                                  std::span<const int64_t> budgets);

}  // namespace recalld::bench
