// The ways of ranking that are compared.
#pragma once

#include <string>
#include <vector>

#include "retrieval/segment_index.h"

namespace recalld::bench {

struct Arm {
  std::string name;
  retrieval::RankingOptions options;
  bool sentences = true;  // a vector for each sentence besides the turn's
};

// dense: turn vectors alone; bm25: words alone; fusion: both and 0.35 of each neighbour; ours: RankingOptions as they
// are.
std::vector<Arm> plain_arms();

// ours, each time with one idea taken out ("ours_less_speaker").
std::vector<Arm> ablated_arms();

}  // namespace recalld::bench
