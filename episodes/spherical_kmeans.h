// Spherical k-means (Dhillon and Modha, 2001) by faiss::Clustering: unit vectors, unit centroids, cosine as similarity.
//
// The same input gives the same output bit by bit: seeded, one thread, no BLAS. Any thread; uses the calling one only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"

namespace recalld::episodes {

struct KMeansOptions {
  int32_t iterations = 20;
  int32_t restarts = 3;  // from other first centroids; the best by total cosine is kept
  int32_t seed = 1234;
  // [k, dim] to start from; then there is nothing random, and one start. Empty: vectors drawn with the seed.
  std::span<const float> first_centroids;
};

struct KMeans {
  std::vector<float> centroids;     // unit, [k, dim]
  std::vector<int32_t> assignment;  // [n], the centroid of largest cosine; the lower one of equals
  int64_t dot_products = 0;         // what it cost, in products of two vectors
};

// units: unit vectors [n, dim], none of them zero; 1 <= k <= n. kInvalidArgument otherwise; kInternal when FAISS fails.
// A cluster may end up empty when vectors repeat.
Result<KMeans> spherical_kmeans(std::span<const float> units, int32_t dim, int32_t k, const KMeansOptions& options);

}  // namespace recalld::episodes
