// Arms that show a question pages of one full pass, at compact positions.
#pragma once

#include "bench/recall/arms/arm.h"

namespace recalld::bench {

// Every page: the whole history in the window.
std::unique_ptr<Arm> make_full();

// The first tokens, the pages of the segments that hold the evidence with their sessions' date lines, and the newest
// 128 tokens: a perfect choice of pages.
std::unique_ptr<Arm> make_evidence_pages();

// The first tokens and the newest, `budget` in all.
std::unique_ptr<Arm> make_last(int budget);

// As evidence_pages with segments drawn by chance, as many as fit the budget.
std::unique_ptr<Arm> make_random(int budget, uint64_t seed);

}  // namespace recalld::bench
