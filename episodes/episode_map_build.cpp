// Where maps come from: empty, built at once, or as they were stored.
#include <algorithm>
#include <string>
#include <utility>

#include "episodes/episode_map.h"
#include "episodes/spherical_kmeans.h"

namespace recalld::episodes {

namespace {

constexpr int32_t kMostDim = 65536;

Status check_dim(int32_t dim) {
  if (dim >= 1 && dim <= kMostDim) return ok_status();
  return invalid_argument("vectors of " + std::to_string(dim) + " numbers; it must be 1 to " +
                          std::to_string(kMostDim));
}

}  // namespace

Result<EpisodeMap> EpisodeMap::create(const EpisodeOptions& options, int32_t dim) {
  RECALLD_RETURN_IF_ERROR(check_episode_options(options));
  RECALLD_RETURN_IF_ERROR(check_dim(dim));
  return EpisodeMap(options, UnitVectors(dim));
}

Result<EpisodeMap> EpisodeMap::build(const EpisodeOptions& options, int32_t dim,
                                     std::span<const retrieval::Segment> segments, std::span<const float> units) {
  RECALLD_ASSIGN_OR_RETURN(EpisodeMap map, create(options, dim));
  const auto width = static_cast<size_t>(dim);
  if (units.size() != segments.size() * width) {
    return invalid_argument(std::to_string(segments.size()) + " segments, but " + std::to_string(units.size()) +
                            " numbers for vectors of " + std::to_string(dim));
  }
  std::vector<float> directed;
  std::vector<size_t> row_of;  // in `directed`, of each segment: a zero vector has that of the segment before it
  std::vector<float> unit(width);
  for (size_t i = 0; i < segments.size(); ++i) {
    RECALLD_RETURN_IF_ERROR(map.check(units.subspan(i * width, width)));
    map.append(segments[i], units.subspan(i * width, width));
    map.vectors_.get(i, unit);
    if (has_direction(unit)) directed.insert(directed.end(), unit.begin(), unit.end());
    const size_t rows = directed.size() / width;
    row_of.push_back(rows == 0 ? 0 : rows - 1);
  }
  if (segments.empty()) return map;
  const size_t n = directed.size() / width;
  std::vector<int32_t> cluster(std::max<size_t>(n, 1), 0);
  if (n > 0) {
    KMeansOptions means;
    means.seed = options.seed;
    RECALLD_ASSIGN_OR_RETURN(KMeans found,
                             spherical_kmeans(directed, dim, wanted_episodes(options, static_cast<int64_t>(n)), means));
    cluster = std::move(found.assignment);
    map.dot_products_ += found.dot_products;
  }
  std::vector<std::vector<int32_t>> groups;
  std::vector<int32_t> group_of(static_cast<size_t>(*std::ranges::max_element(cluster)) + 1, -1);
  for (size_t i = 0; i < segments.size(); ++i) {
    int32_t& group = group_of[static_cast<size_t>(cluster[row_of[i]])];
    if (group < 0) {
      group = static_cast<int32_t>(groups.size());
      groups.emplace_back();
    }
    groups[static_cast<size_t>(group)].push_back(static_cast<int32_t>(i));
  }
  for (std::vector<int32_t>& group : groups) {
    Episode& episode = map.episodes_[map.open_episode()];
    map.set_segments(episode, std::move(group));
    map.renew_title(episode);
    map.changed(episode);
  }
  return map;
}

Result<EpisodeMap> EpisodeMap::restore(const EpisodeOptions& options, std::vector<retrieval::Segment> segments,
                                       UnitVectors vectors, std::vector<Kept> episodes, int32_t next_id) {
  RECALLD_RETURN_IF_ERROR(check_episode_options(options));
  RECALLD_RETURN_IF_ERROR(check_dim(vectors.dim()));
  if (vectors.size() != segments.size()) {
    return corrupt(std::to_string(segments.size()) + " stored segments, but " + std::to_string(vectors.size()) +
                   " vectors");
  }
  EpisodeMap map(options, std::move(vectors));
  for (retrieval::Segment& segment : segments) {
    map.words_.add(segment.text);
    segment.text = {};
  }
  map.segments_ = std::move(segments);
  map.episode_of_.assign(map.segments_.size(), -1);
  map.next_id_ = next_id;
  int32_t before = -1;
  size_t members = 0;
  for (Kept& kept : episodes) {
    if (kept.id <= before || kept.id >= next_id) return corrupt("the stored episodes are not in order");
    before = kept.id;
    for (const int32_t segment : kept.segments) {
      if (segment < 0 || static_cast<size_t>(segment) >= map.segments_.size() ||
          map.episode_of_[static_cast<size_t>(segment)] >= 0) {
        return corrupt("stored episode " + std::to_string(kept.id) + " has a segment that is not its own");
      }
      map.episode_of_[static_cast<size_t>(segment)] = kept.id;
    }
    if (kept.segments.empty() || !std::ranges::is_sorted(kept.segments)) {
      return corrupt("stored episode " + std::to_string(kept.id) + " has no segments, or not in order");
    }
    members += kept.segments.size();
    Episode episode;
    episode.id = kept.id;
    episode.title = std::move(kept.title);
    map.set_segments(episode, std::move(kept.segments));
    map.episodes_.push_back(std::move(episode));
  }
  if (members != map.segments_.size()) return corrupt("stored segments without an episode");
  map.n_saved_ = map.segments_.size();
  return map;
}

}  // namespace recalld::episodes
