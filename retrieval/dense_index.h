// Unit vectors and the ones among them that point where a question points: FAISS behind a small contract.
//
// Up to exact_limit vectors a search compares with every one of them (IndexFlatIP). Above, the vectors are grouped
// around centroids and the nearest groups alone are searched (IndexIVFFlat; Johnson, Douze, Jegou, "Billion-scale
// similarity search with GPUs", 2017, sec. 2): the groups are made when the limit is passed and again whenever the
// number of vectors has doubled since, so that adding costs the same on average however many there are.
//
// The same vectors in the same order give the same answers. Not thread-safe: one owner thread, on which FAISS runs
// alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"

namespace recalld::retrieval {

struct DenseOptions {
  int64_t exact_limit = 65536;  // vectors; 0: never exact
  // Of the groups, how many are searched: this share, at least 8.
  double probed = 0.2;
};

struct DenseMatch {
  int64_t id = 0;    // 0, 1, 2, ... in the order of adding
  float cosine = 0;  // -1..1
};

class DenseIndex {
 public:
  // kInvalidArgument unless 1 <= dim <= 65,536.
  static Result<std::unique_ptr<DenseIndex>> create(int32_t dim, const DenseOptions& options = {});
  ~DenseIndex();
  DenseIndex(const DenseIndex&) = delete;
  DenseIndex& operator=(const DenseIndex&) = delete;

  int32_t dim() const { return dim_; }
  int64_t size() const { return static_cast<int64_t>(zero_.size()); }
  bool exact() const;

  // A unit vector, [dim], copied; or the zero vector, which takes an id and is never found. kInvalidArgument for
  // another dim and for numbers that are not finite.
  Status add(std::span<const float> vector);

  // The k nearest (fewer when there are not so many), the nearest first, the lower id first among equals. query: [dim];
  // the zero vector finds nothing.
  Result<std::vector<DenseMatch>> search(std::span<const float> query, int64_t k) const;

  // The cosines with all vectors, [size]; 0 for zero vectors. kFailedPrecondition unless exact().
  Result<std::vector<float>> cosines(std::span<const float> query) const;

  // The cosines with at most n vectors spread evenly over all: what is an ordinary cosine here.
  Result<std::vector<float>> sample(std::span<const float> query, int64_t n) const;

 private:
  struct Parts;
  DenseIndex(int32_t dim, const DenseOptions& options);
  Status check(std::span<const float> vector) const;
  void group();

  const int32_t dim_;
  const DenseOptions options_;
  std::unique_ptr<Parts> parts_;
  std::vector<bool> zero_;  // by id
  int64_t n_zero_ = 0;
  int64_t grouped_size_ = 0;  // vectors there were when groups were last made
};

}  // namespace recalld::retrieval
