#include "episodes/episode_split.h"

#include <algorithm>
#include <numeric>

#include "episodes/spherical_kmeans.h"

namespace recalld::episodes {

namespace {

// The unit that is farthest from `from`.
std::span<const float> farthest(std::span<const float> units, size_t dim, std::span<const float> from) {
  std::span<const float> found = units.first(dim);
  float lowest = dot(found, from);
  for (size_t at = dim; at < units.size(); at += dim) {
    const float cosine = dot(units.subspan(at, dim), from);
    if (cosine >= lowest) continue;
    lowest = cosine;
    found = units.subspan(at, dim);
  }
  return found;
}

std::vector<float> far_pair(std::span<const float> units, size_t dim) {
  std::vector<float> mean(dim, 0.0f);
  for (size_t at = 0; at < units.size(); ++at) mean[at % dim] += units[at];
  const std::span<const float> one = farthest(units, dim, mean);
  const std::span<const float> other = farthest(units, dim, one);
  std::vector<float> pair(one.begin(), one.end());
  pair.insert(pair.end(), other.begin(), other.end());
  return pair;
}

}  // namespace

Result<EpisodeHalves> split_episode(const UnitVectors& vectors, std::span<const int32_t> members) {
  const auto dim = static_cast<size_t>(vectors.dim());
  std::vector<float> units;
  std::vector<float> row(dim);
  // The row in `units` of each member, the last one before it for a zero vector.
  std::vector<size_t> row_of;
  for (const int32_t member : members) {
    vectors.get(static_cast<size_t>(member), row);
    if (has_direction(row)) units.insert(units.end(), row.begin(), row.end());
    const size_t rows = units.size() / dim;
    row_of.push_back(rows == 0 ? 0 : rows - 1);
  }
  const size_t n = units.size() / dim;
  if (n < 2) return invalid_argument("an episode of fewer than two directions cannot be split");

  KMeansOptions options;
  options.iterations = 10;
  const std::vector<float> starts = far_pair(units, dim);
  options.first_centroids = starts;
  RECALLD_ASSIGN_OR_RETURN(const KMeans means, spherical_kmeans(units, vectors.dim(), 2, options));

  // How much more a segment belongs to the first mean than to the second.
  std::vector<float> lean(n);
  const std::span<const float> centroids(means.centroids);
  for (size_t i = 0; i < n; ++i) {
    const std::span<const float> unit(units.data() + i * dim, dim);
    lean[i] = dot(unit, centroids.first(dim)) - dot(unit, centroids.subspan(dim));
  }
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return lean[a] > lean[b]; });
  auto in_first = static_cast<size_t>(std::ranges::count_if(lean, [](float value) { return value >= 0.0f; }));
  const size_t least = std::max<size_t>(1, n / 4);
  in_first = std::clamp(in_first, least, n - least);
  std::vector<bool> is_first(n, false);
  for (size_t i = 0; i < in_first; ++i) is_first[order[i]] = true;

  EpisodeHalves halves;
  halves.dot_products = means.dot_products + 4 * static_cast<int64_t>(n);
  const bool oldest = is_first[row_of[0]];
  for (size_t i = 0; i < members.size(); ++i) {
    (is_first[row_of[i]] == oldest ? halves.first : halves.second).push_back(members[i]);
  }
  return halves;
}

}  // namespace recalld::episodes
