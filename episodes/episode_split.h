// An episode in two: 2-means over its own segments only, started from the one farthest from their mean and the one
// farthest from that.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "episodes/unit_vectors.h"

namespace recalld::episodes {

struct EpisodeHalves {
  std::vector<int32_t> first, second;  // segments, ascending; first has the oldest one
  int64_t dot_products = 0;
};

// members: ascending segments of `vectors`, of which at least 2 have a direction. Neither half has less than a quarter
// of those: the segments nearest to the border move over. So a half is far from being split again, and a segment costs
// a bounded number of products however long a session grows. A zero vector goes where the one before it goes. Errors
// as spherical_kmeans.
Result<EpisodeHalves> split_episode(const UnitVectors& vectors, std::span<const int32_t> members);

}  // namespace recalld::episodes
