#include "bench/retrieval/routing.h"

#include <faiss/IndexFlat.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

namespace recalld::bench {
namespace {

constexpr int64_t kClusterSize = 50;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

class Vectors {
 public:
  Vectors(int32_t dim, uint32_t seed) : dim_(static_cast<size_t>(dim)), random_(seed) {}

  // A unit vector around another one; spread: length of the noise against the vector's.
  std::vector<float> near(const std::vector<float>& center, double spread) {
    std::vector<float> vector(dim_);
    const auto scale = static_cast<float>(spread / std::sqrt(static_cast<double>(dim_)));
    double squares = 0;
    for (size_t i = 0; i < dim_; ++i) {
      vector[i] = (center.empty() ? 0.0F : center[i]) + scale * normal_(random_);
      squares += static_cast<double>(vector[i]) * vector[i];
    }
    for (float& x : vector) x /= static_cast<float>(std::sqrt(squares));
    return vector;
  }

  size_t below(size_t n) { return random_() % n; }

 private:
  size_t dim_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
};

double recall(const std::vector<retrieval::DenseMatch>& found, std::span<const faiss::Index::idx_t> nearest) {
  std::unordered_set<int64_t> ids;
  for (const retrieval::DenseMatch& match : found) ids.insert(match.id);
  return static_cast<double>(
             std::count_if(nearest.begin(), nearest.end(), [&](int64_t id) { return ids.contains(id); })) /
         static_cast<double>(nearest.size());
}

}  // namespace

Status measure_routing(std::span<const int64_t> sizes, const RoutingSettings& settings, Report* report) {
  omp_set_num_threads(1);
  for (const int64_t n : sizes) {
    Vectors vectors(settings.dim, static_cast<uint32_t>(n));
    const double spread = settings.centers.empty() ? 1 : 0.5;
    std::vector<std::vector<float>> centers = settings.centers;
    if (centers.empty())
      for (int64_t i = 0; i < (n + kClusterSize - 1) / kClusterSize; ++i) centers.push_back(vectors.near({}, 1));
    RECALLD_ASSIGN_OR_RETURN(const auto index, retrieval::DenseIndex::create(settings.dim, settings.index));
    faiss::IndexFlatIP brute(settings.dim);
    std::vector<std::vector<float>> all;
    for (int64_t i = 0; i < n; ++i) all.push_back(vectors.near(centers[vectors.below(centers.size())], spread));
    auto start = std::chrono::steady_clock::now();
    for (const std::vector<float>& vector : all) brute.add(1, vector.data());
    const double brute_add = seconds_since(start);
    start = std::chrono::steady_clock::now();
    for (const std::vector<float>& vector : all) RECALLD_RETURN_IF_ERROR(index->add(vector));
    const double index_add = seconds_since(start);

    double recalled[2] = {0, 0}, brute_seconds = 0, index_seconds = 0;
    const int64_t counts[2] = {std::min<int64_t>(10, n), std::min<int64_t>(100, n)};
    for (int q = 0; q < settings.n_queries; ++q) {
      const std::vector<float> query = vectors.near(all[vectors.below(all.size())], 0.7 * spread);
      std::vector<faiss::Index::idx_t> nearest(static_cast<size_t>(counts[1]));
      std::vector<float> cosines(nearest.size());
      start = std::chrono::steady_clock::now();
      brute.search(1, query.data(), counts[1], cosines.data(), nearest.data());
      brute_seconds += seconds_since(start);
      start = std::chrono::steady_clock::now();
      RECALLD_ASSIGN_OR_RETURN(auto found, index->search(query, counts[1]));
      index_seconds += seconds_since(start);
      recalled[1] += recall(found, nearest);
      found.resize(std::min(found.size(), static_cast<size_t>(counts[0])));
      recalled[0] += recall(found, std::span(nearest).first(static_cast<size_t>(counts[0])));
    }
    const std::string size = std::to_string(n);
    report->add("routing_recall10_" + size, recalled[0] / settings.n_queries, "share", "brute force");
    report->add("routing_recall100_" + size, recalled[1] / settings.n_queries, "share", "brute force");
    report->add("routing_query_" + size, index_seconds / brute_seconds, "x", "brute force");
    report->add("routing_add_" + size, index_add / brute_add, "x", "brute force");
  }
  return ok_status();
}

}  // namespace recalld::bench
