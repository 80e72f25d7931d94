#include "retrieval/dense_index.h"

#include <faiss/IndexFlat.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/utils/distances.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <string>

namespace recalld::retrieval {
namespace {

// k-means wants no more than this many vectors for each centroid.
constexpr int64_t kTrainPerGroup = 64;

bool is_zero(std::span<const float> vector) {
  return std::all_of(vector.begin(), vector.end(), [](float x) { return x == 0; });
}

}  // namespace

struct DenseIndex::Parts {
  explicit Parts(int32_t dim) : flat(dim) {}

  // All vectors while the index is exact; empty afterwards.
  faiss::IndexFlatIP flat;
  std::unique_ptr<faiss::IndexFlatIP> centroids;
  std::unique_ptr<faiss::IndexIVFFlat> groups;
};

Result<std::unique_ptr<DenseIndex>> DenseIndex::create(int32_t dim, const DenseOptions& options) {
  if (dim < 1 || dim > 65536)
    return invalid_argument("an index of vectors of " + std::to_string(dim) + " numbers; 1 to 65536 are possible");
  return std::unique_ptr<DenseIndex>(new DenseIndex(dim, options));
}

DenseIndex::DenseIndex(int32_t dim, const DenseOptions& options)
    : dim_(dim), options_(options), parts_(std::make_unique<Parts>(dim)) {}

DenseIndex::~DenseIndex() = default;

bool DenseIndex::exact() const { return parts_->groups == nullptr; }

Status DenseIndex::check(std::span<const float> vector) const {
  if (vector.size() != static_cast<size_t>(dim_))
    return invalid_argument("a vector of " + std::to_string(vector.size()) + " numbers for an index of " +
                            std::to_string(dim_) + "; use the encoder that the index was made with");
  if (!std::all_of(vector.begin(), vector.end(), [](float x) { return std::isfinite(x); }))
    return invalid_argument("a vector holds a number that is not finite; embed the text again");
  return ok_status();
}

// Makes the groups anew from all vectors.
void DenseIndex::group() {
  const int64_t n = size();
  std::vector<float> all(static_cast<size_t>(n * dim_));
  if (parts_->groups == nullptr)
    parts_->flat.reconstruct_n(0, n, all.data());
  else
    parts_->groups->reconstruct_n(0, n, all.data());
  const auto n_groups = static_cast<size_t>(std::max<double>(1, std::sqrt(static_cast<double>(n))));
  auto centroids = std::make_unique<faiss::IndexFlatIP>(dim_);
  auto groups = std::make_unique<faiss::IndexIVFFlat>(centroids.get(), static_cast<size_t>(dim_), n_groups,
                                                      faiss::METRIC_INNER_PRODUCT);
  groups->cp.spherical = true;
  groups->cp.max_points_per_centroid = kTrainPerGroup;
  groups->cp.min_points_per_centroid = 1;
  groups->cp.niter = 10;
  groups->cp.seed = 1;
  groups->nprobe = std::max<size_t>(8, static_cast<size_t>(options_.probed * static_cast<double>(n_groups)));
  groups->train(n, all.data());
  groups->make_direct_map(true);
  groups->add(n, all.data());
  parts_->flat.reset();
  parts_->groups = std::move(groups);
  parts_->centroids = std::move(centroids);
  grouped_size_ = n;
}

Status DenseIndex::add(std::span<const float> vector) {
  RECALLD_RETURN_IF_ERROR(check(vector));
  omp_set_num_threads(1);
  try {
    if (exact())
      parts_->flat.add(1, vector.data());
    else
      parts_->groups->add(1, vector.data());
    zero_.push_back(is_zero(vector));
    n_zero_ += zero_.back() ? 1 : 0;
    if (exact() ? size() > options_.exact_limit : size() >= 2 * grouped_size_) group();
  } catch (const std::exception& problem) {
    return internal_error(std::string("FAISS: ") + problem.what());
  }
  return ok_status();
}

Result<std::vector<DenseMatch>> DenseIndex::search(std::span<const float> query, int64_t k) const {
  RECALLD_RETURN_IF_ERROR(check(query));
  std::vector<DenseMatch> found;
  if (k <= 0 || size() == 0 || is_zero(query)) return found;
  omp_set_num_threads(1);
  try {
    if (exact()) {
      RECALLD_ASSIGN_OR_RETURN(const std::vector<float> all, cosines(query));
      for (size_t id = 0; id < all.size(); ++id)
        if (!zero_[id]) found.push_back({static_cast<int64_t>(id), all[id]});
    } else {
      // Zero vectors may come before vectors that point away; room for them, so that k others are found.
      const int64_t wanted = std::min(size(), k + n_zero_);
      std::vector<faiss::Index::idx_t> ids(static_cast<size_t>(wanted));
      std::vector<float> cosines(static_cast<size_t>(wanted));
      parts_->groups->search(1, query.data(), wanted, cosines.data(), ids.data());
      for (size_t i = 0; i < ids.size(); ++i)
        if (ids[i] >= 0 && !zero_[static_cast<size_t>(ids[i])]) found.push_back({ids[i], cosines[i]});
    }
  } catch (const std::exception& problem) {
    return internal_error(std::string("FAISS: ") + problem.what());
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(found.size(), static_cast<size_t>(k)));
  std::partial_sort(found.begin(), found.begin() + kept, found.end(), [](const DenseMatch& a, const DenseMatch& b) {
    return a.cosine != b.cosine ? a.cosine > b.cosine : a.id < b.id;
  });
  found.resize(static_cast<size_t>(kept));
  return found;
}

Result<std::vector<float>> DenseIndex::cosines(std::span<const float> query) const {
  RECALLD_RETURN_IF_ERROR(check(query));
  if (!exact()) return failed_precondition("the index is too large to compare with all of it; search it instead");
  omp_set_num_threads(1);
  std::vector<float> all(static_cast<size_t>(size()));
  if (!all.empty())
    faiss::fvec_inner_products_ny(all.data(), query.data(), parts_->flat.get_xb(), static_cast<size_t>(dim_),
                                  all.size());
  return all;
}

Result<std::vector<float>> DenseIndex::sample(std::span<const float> query, int64_t n) const {
  RECALLD_RETURN_IF_ERROR(check(query));
  const int64_t taken = std::clamp<int64_t>(n, 0, size());
  std::vector<float> cosines, vector(static_cast<size_t>(dim_));
  try {
    for (int64_t i = 0; i < taken; ++i) {
      const int64_t id = i * size() / taken;
      exact() ? parts_->flat.reconstruct(id, vector.data()) : parts_->groups->reconstruct(id, vector.data());
      cosines.push_back(faiss::fvec_inner_product(vector.data(), query.data(), vector.size()));
    }
  } catch (const std::exception& problem) {
    return internal_error(std::string("FAISS: ") + problem.what());
  }
  return cosines;
}

}  // namespace recalld::retrieval
