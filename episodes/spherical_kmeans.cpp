#include "episodes/spherical_kmeans.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <omp.h>

#include <cmath>
#include <exception>
#include <limits>
#include <string>

namespace recalld::episodes {

namespace {

// The number of OpenMP threads is a setting of the calling thread.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  const int before_;
};

// FAISS gives 20 queries and more to BLAS, whose threads and order of additions are the machine's. Fewer at a time are
// multiplied by its own loops.
class PlainIndex : public faiss::IndexFlatIP {
 public:
  explicit PlainIndex(int32_t dim) : faiss::IndexFlatIP(dim) {}

  void search(idx_t n, const float* x, idx_t k, float* distances, idx_t* labels,
              const faiss::SearchParameters* params = nullptr) const override {
    constexpr idx_t kAtOnce = 16;
    for (idx_t first = 0; first < n; first += kAtOnce) {
      const idx_t count = std::min(kAtOnce, n - first);
      faiss::IndexFlatIP::search(count, x + first * d, k, distances + first * k, labels + first * k, params);
    }
    dot_products_ += n * ntotal;
  }

  int64_t dot_products() const { return dot_products_; }

 private:
  mutable int64_t dot_products_ = 0;
};

Status check(std::span<const float> units, int32_t dim, int32_t k, std::span<const float> first) {
  if (dim <= 0 || units.size() % static_cast<size_t>(dim) != 0) {
    return invalid_argument("vectors of " + std::to_string(dim) + " numbers cannot fill " +
                            std::to_string(units.size()));
  }
  const size_t n = units.size() / static_cast<size_t>(dim);
  if (k < 1 || static_cast<size_t>(k) > n) {
    return invalid_argument(std::to_string(n) + " vectors cannot be put into " + std::to_string(k) + " clusters");
  }
  if (!first.empty() && first.size() != static_cast<size_t>(k) * static_cast<size_t>(dim)) {
    return invalid_argument("first centroids of another number than " + std::to_string(k));
  }
  for (const float value : units) {
    if (!std::isfinite(value)) return invalid_argument("a vector to be clustered is not finite");
  }
  return ok_status();
}

}  // namespace

Result<KMeans> spherical_kmeans(std::span<const float> units, int32_t dim, int32_t k, const KMeansOptions& options) {
  RECALLD_RETURN_IF_ERROR(check(units, dim, k, options.first_centroids));
  const auto n = static_cast<faiss::Index::idx_t>(units.size() / static_cast<size_t>(dim));
  const OneThread one_thread;
  try {
    faiss::ClusteringParameters parameters;
    parameters.niter = options.iterations;
    parameters.nredo = options.restarts;
    parameters.seed = options.seed;
    parameters.spherical = true;
    parameters.min_points_per_centroid = 1;
    parameters.max_points_per_centroid = std::numeric_limits<int>::max() / k;
    faiss::Clustering clustering(dim, k, parameters);
    if (!options.first_centroids.empty()) {
      clustering.centroids.assign(options.first_centroids.begin(), options.first_centroids.end());
      clustering.nredo = 1;
    }
    PlainIndex index(dim);
    clustering.train(n, units.data(), index);

    index.reset();
    index.add(k, clustering.centroids.data());
    std::vector<float> cosines(static_cast<size_t>(n));
    std::vector<faiss::Index::idx_t> labels(static_cast<size_t>(n));
    index.search(n, units.data(), 1, cosines.data(), labels.data());
    KMeans result;
    result.centroids = std::move(clustering.centroids);
    result.assignment.assign(labels.begin(), labels.end());
    result.dot_products = index.dot_products();
    return result;
  } catch (const std::exception& failure) {
    return internal_error(std::string("FAISS could not cluster: ") + failure.what());
  }
}

}  // namespace recalld::episodes
