#include "episodes/episode_map.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "episodes/episode_split.h"

namespace recalld::episodes {

namespace {

void widen(std::optional<int64_t>& first, std::optional<int64_t>& last, const retrieval::Segment& segment) {
  if (segment.first_ms) first = first ? std::min(*first, *segment.first_ms) : segment.first_ms;
  if (segment.last_ms) last = last ? std::max(*last, *segment.last_ms) : segment.last_ms;
}

// Sizes 1, 2, 3, 4, 5, 6, 7, 9, 11, 14, ...: a quarter more each time.
bool is_title_size(size_t size) {
  size_t at = 1;
  while (at < size) at = std::max(at + 1, at * 5 / 4);
  return at == size;
}

}  // namespace

Status EpisodeMap::check(std::span<const float> unit) const {
  if (unit.size() != static_cast<size_t>(dim())) {
    return invalid_argument("the vector of segment " + std::to_string(segments_.size()) + " has " +
                            std::to_string(unit.size()) + " numbers, not " + std::to_string(dim()));
  }
  double squares = 0;
  for (const float value : unit) squares += static_cast<double>(value) * value;
  if (squares == 0.0 || std::abs(std::sqrt(squares) - 1.0) <= 0.01) return ok_status();
  return invalid_argument("the vector of segment " + std::to_string(segments_.size()) + " has length " +
                          std::to_string(std::sqrt(squares)) + "; it must be 1, or 0 for a text without meaning");
}

void EpisodeMap::append(const retrieval::Segment& segment, std::span<const float> unit) {
  words_.add(segment.text);
  segments_.push_back(segment);
  segments_.back().text = {};
  vectors_.add(unit);
  episode_of_.push_back(0);
}

Result<int32_t> EpisodeMap::add(const retrieval::Segment& segment, std::span<const float> unit) {
  RECALLD_RETURN_IF_ERROR(check(unit));
  const auto index = static_cast<int32_t>(segments_.size());
  append(segment, unit);
  std::vector<float> rounded(unit.size());
  vectors_.get(static_cast<size_t>(index), rounded);
  const bool directed = has_direction(rounded);
  const size_t at = place(index, rounded, directed);
  Episode& episode = episodes_[at];
  include(episode, index, rounded);
  if (is_title_size(episode.segments.size())) renew_title(episode);
  changed(episode);
  if (directed) {
    episode.centroid = episode.sum;
    normalize(episode.centroid);
    RECALLD_ASSIGN_OR_RETURN(const bool split, split_if_large(at));
    if (!split) merge_if_small(at);
  }
  return episode_of_[static_cast<size_t>(index)];
}

const Episode* EpisodeMap::find(int32_t id) const {
  const auto at = std::ranges::lower_bound(episodes_, id, {}, &Episode::id);
  return at != episodes_.end() && at->id == id ? &*at : nullptr;
}

std::optional<EpisodeMap::Near> EpisodeMap::nearest(std::span<const float> unit) {
  std::optional<Near> best;
  for (size_t at = 0; at < episodes_.size(); ++at) {
    // An episode of empty texts takes the direction of the first that has one.
    const Episode& episode = episodes_[at];
    const float cosine = episode.n_directed == 0 ? options_.join_cosine : dot(unit, episode.centroid);
    ++dot_products_;
    if (!best || cosine > best->cosine) best = Near{at, cosine};
  }
  return best;
}

// The episode for a segment, opened if need be.
size_t EpisodeMap::place(int32_t segment, std::span<const float> unit, bool directed) {
  if (!directed && segment > 0) {
    const int32_t before = episode_of_[static_cast<size_t>(segment) - 1];
    return static_cast<size_t>(find(before) - episodes_.data());
  }
  const std::optional<Near> near = nearest(unit);
  if (!near) return open_episode();
  if (near->cosine >= options_.join_cosine) return near->at;
  const bool room = episodes_.size() < static_cast<size_t>(episode_limit(options_)) || make_room({}, near->cosine);
  return room ? open_episode() : near->at;
}

size_t EpisodeMap::open_episode() {
  Episode episode;
  episode.id = next_id_++;
  episode.sum.assign(static_cast<size_t>(dim()), 0.0f);
  episode.centroid = episode.sum;
  episodes_.push_back(std::move(episode));
  return episodes_.size() - 1;
}

void EpisodeMap::include(Episode& episode, int32_t segment, std::span<const float> unit) {
  const retrieval::Segment& row = segments_[static_cast<size_t>(segment)];
  episode_of_[static_cast<size_t>(segment)] = episode.id;
  episode.segments.push_back(segment);
  widen(episode.first_ms, episode.last_ms, row);
  episode.n_turns += row.n_turns;
  episode.n_tokens += row.n_tokens;
  if (!has_direction(unit)) return;
  ++episode.n_directed;
  for (size_t i = 0; i < unit.size(); ++i) episode.sum[i] += unit[i];
}

void EpisodeMap::set_segments(Episode& episode, std::vector<int32_t> segments) {
  episode = {.id = episode.id, .title = std::move(episode.title)};
  episode.sum.assign(static_cast<size_t>(dim()), 0.0f);
  std::vector<float> unit(static_cast<size_t>(dim()));
  for (const int32_t segment : segments) {
    vectors_.get(static_cast<size_t>(segment), unit);
    include(episode, segment, unit);
  }
  episode.centroid = episode.sum;
  normalize(episode.centroid);
}

void EpisodeMap::renew_title(Episode& episode) { episode.title = words_.title(episode.segments, options_.title_words); }

Result<bool> EpisodeMap::split_if_large(size_t at) {
  if (episodes_[at].n_directed <= split_above(options_, static_cast<int64_t>(segments_.size()))) return false;
  if (episodes_.size() >= static_cast<size_t>(episode_limit(options_))) {
    const int32_t id = episodes_[at].id;
    if (!make_room(at, -1.0f)) return false;
    at = static_cast<size_t>(find(id) - episodes_.data());
  }
  RECALLD_ASSIGN_OR_RETURN(EpisodeHalves halves, split_episode(vectors_, episodes_[at].segments));
  dot_products_ += halves.dot_products;
  const size_t fresh = open_episode();
  set_segments(episodes_[at], std::move(halves.first));
  set_segments(episodes_[fresh], std::move(halves.second));
  for (const size_t half : {at, fresh}) {
    renew_title(episodes_[half]);
    changed(episodes_[half]);
  }
  return true;
}

void EpisodeMap::merge_if_small(size_t at) {
  const int64_t aim = aimed_size(options_, static_cast<int64_t>(segments_.size()));
  const Episode& episode = episodes_[at];
  if (episode.n_directed == 0 || 2 * episode.n_directed > aim) return;
  std::optional<Near> best;
  for (size_t other = 0; other < episodes_.size(); ++other) {
    if (other == at || episodes_[other].n_directed + episode.n_directed > aim) continue;
    const float cosine = dot(episode.centroid, episodes_[other].centroid);
    ++dot_products_;
    if (!best || cosine > best->cosine) best = Near{other, cosine};
  }
  if (best && best->cosine >= options_.merge_cosine) merge(std::min(at, best->at), std::max(at, best->at));
}

bool EpisodeMap::make_room(std::optional<size_t> spared, float above) {
  const int64_t aim = aimed_size(options_, static_cast<int64_t>(segments_.size()));
  size_t into = 0;
  size_t from = 0;
  float closest = above;
  for (size_t a = 0; a < episodes_.size(); ++a) {
    for (size_t b = a + 1; b < episodes_.size(); ++b) {
      if (a == spared || b == spared || episodes_[a].n_directed + episodes_[b].n_directed > aim) continue;
      const float cosine = dot(episodes_[a].centroid, episodes_[b].centroid);
      ++dot_products_;
      if (cosine <= closest) continue;
      closest = cosine;
      into = a;
      from = b;
    }
  }
  if (from == 0) return false;
  merge(into, from);
  return true;
}

void EpisodeMap::merge(size_t into, size_t from) {
  std::vector<int32_t> all;
  std::ranges::merge(episodes_[into].segments, episodes_[from].segments, std::back_inserter(all));
  set_segments(episodes_[into], std::move(all));
  renew_title(episodes_[into]);
  changed(episodes_[into]);
  changed_.erase(episodes_[from].id);
  gone_.insert(episodes_[from].id);
  episodes_.erase(episodes_.begin() + static_cast<std::ptrdiff_t>(from));
}

std::vector<int32_t> EpisodeMap::representatives(const Episode& episode, int32_t n) const {
  std::vector<float> cosines;
  std::vector<float> unit(static_cast<size_t>(dim()));
  for (const int32_t segment : episode.segments) {
    vectors_.get(static_cast<size_t>(segment), unit);
    cosines.push_back(dot(unit, episode.centroid));
  }
  std::vector<size_t> order(cosines.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return cosines[a] > cosines[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(std::max(n, 0))));
  std::ranges::sort(order);
  std::vector<int32_t> chosen;
  for (const size_t at : order) chosen.push_back(episode.segments[at]);
  return chosen;
}

EpisodeMap::Unsaved EpisodeMap::unsaved() const {
  Unsaved unsaved;
  unsaved.first_segment = n_saved_;
  for (const int32_t id : changed_) unsaved.changed.push_back(find(id));
  unsaved.gone.assign(gone_.begin(), gone_.end());
  return unsaved;
}

void EpisodeMap::mark_saved() {
  n_saved_ = segments_.size();
  changed_.clear();
  gone_.clear();
}

}  // namespace recalld::episodes
