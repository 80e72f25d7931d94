// How fast the nearest of many vectors are found, and how many of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "bench/report.h"
#include "retrieval/dense_index.h"

namespace recalld::bench {

struct RoutingSettings {
  int32_t dim = 384;
  int n_queries = 200;
  // Clusters are drawn around these unit vectors, [dim]; empty: around random ones, one for each 50 vectors.
  std::vector<std::vector<float>> centers;
  retrieval::DenseOptions index;
};

// For each size: that many unit vectors in clusters, drawn by a fixed seed, added one by one; queries are vectors of it
// with noise. Figures against brute force (FAISS's IndexFlatIP on the same vectors):
// routing_recall10_SIZE, routing_recall100_SIZE, routing_query_SIZE and routing_add_SIZE (time ratios).
Status measure_routing(std::span<const int64_t> sizes, const RoutingSettings& settings, Report* report);

}  // namespace recalld::bench
