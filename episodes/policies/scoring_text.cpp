#include "episodes/policies/scoring_text.h"

namespace recalld::episodes {

void keep_by_weight(const LayerEntries& entries, LayerScores& scores) {
  for (size_t head = 0; head < entries.heads.size(); ++head)
    scores.keep[head].assign(entries.heads[head].weights.begin(), entries.heads[head].weights.end());
}

}  // namespace recalld::episodes
