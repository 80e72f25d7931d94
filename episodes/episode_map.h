// The episodes of one session: its segments grouped by what they are about, growing as the session does.
//
// Growth is local. A finished segment joins the episode of the nearest centroid, or opens one when none is near enough
// (join_cosine); an episode that has become too large is split in two (2-means over its own segments); a small one
// that has come close to another small one is merged with it (merge_cosine). No other episode is touched, and nothing
// is ever clustered anew. When there are as many episodes as there may be, the closest two small ones are merged to
// make room; where none are small enough, a segment joins its nearest and an episode grows past its size. Idea:
// EpiCache 2509.17396 (episodes by k-means over segment vectors; how they grow is ours), leader clustering with splits.
//
// Episodes depend on the segments and their order alone, not on batches and restarts: vectors are rounded to half
// precision when they come in, a centroid is the sum of its segments' vectors in their order, and restore() takes back
// exactly what was there. Ties go to the older episode, the older segment.
//
// Cost of a segment, with E = episode_limit: E products for its nearest episode; E more when that is small; E * E / 2
// more while there are E episodes and it is near to none; and splits, which come to fewer than 200 products for each
// segment (episode_split.h). None of it grows with the session. Memory: 2 * dim bytes for each segment, its row, and
// its distinct words.
//
// Not thread-safe: one owner thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "episodes/episode_sizes.h"
#include "episodes/episode_title.h"
#include "episodes/unit_vectors.h"
#include "retrieval/segment.h"

namespace recalld::episodes {

struct Episode {
  int32_t id = 0;                            // 0, 1, 2, ... as they were opened; never used again in this session
  std::vector<int32_t> segments;             // ascending
  int32_t n_directed = 0;                    // of them, those whose vector is not zero
  std::vector<float> sum;                    // of their vectors, [dim]
  std::vector<float> centroid;               // unit vector of the sum, [dim]; zero when the sum is
  std::optional<int64_t> first_ms, last_ms;  // of the dated ones
  int64_t n_turns = 0, n_tokens = 0;
  // Renewed when the episode was split or merged, or has grown by a quarter: not with every segment. May be empty.
  std::string title;
};

class EpisodeMap {
 public:
  // kInvalidArgument when the options or dim (1 to 65,536) make no sense.
  static Result<EpisodeMap> create(const EpisodeOptions& options, int32_t dim);

  // Built at once: spherical k-means over all segments into `options.n_episodes`, or wanted_episodes(n), groups; ids in
  // the order of their first segments. For a session whose encoder was exchanged, and for comparison; it may grow on.
  // units: [segments, dim], unit or zero vectors. Errors as add().
  static Result<EpisodeMap> build(const EpisodeOptions& options, int32_t dim,
                                  std::span<const retrieval::Segment> segments, std::span<const float> units);

  // What is kept of an episode beyond its segments.
  struct Kept {
    int32_t id = 0;
    std::string title;
    std::vector<int32_t> segments;
  };
  // The map that was: segments with their texts (for titles of episodes to come), their vectors as halves() gave them,
  // the episodes by id, and the next id. kCorrupt when they do not fit together.
  static Result<EpisodeMap> restore(const EpisodeOptions& options, std::vector<retrieval::Segment> segments,
                                    UnitVectors vectors, std::vector<Kept> episodes, int32_t next_id);

  // The next segment, with its unit vector [dim], or the zero vector when its text has none: then it goes where the
  // segment before it went. Returns the id of its episode. kInvalidArgument for a vector of another length, that is
  // not finite or not of length 0 or 1 (within 1 %): nothing is changed. kInternal when FAISS fails: the segment is in,
  // its episode was not split.
  Result<int32_t> add(const retrieval::Segment& segment, std::span<const float> unit);

  int32_t dim() const { return vectors_.dim(); }
  const EpisodeOptions& options() const { return options_; }
  size_t n_segments() const { return segments_.size(); }
  // Without its text.
  const retrieval::Segment& segment(size_t i) const { return segments_[i]; }
  // By id.
  const std::vector<Episode>& episodes() const { return episodes_; }
  // The id of a segment's episode.
  int32_t episode_of(size_t segment) const { return episode_of_[segment]; }
  // None when there is no such episode (any more).
  const Episode* find(int32_t id) const;
  const UnitVectors& vectors() const { return vectors_; }
  int32_t next_id() const { return next_id_; }

  // The n segments whose vectors are closest to the episode's centroid, in their order; all when it has no more.
  // Cost: a product for each of its segments.
  std::vector<int32_t> representatives(const Episode& episode, int32_t n) const;

  // What changed since the last mark_saved() (for a restored map: since restore).
  struct Unsaved {
    size_t first_segment = 0;             // segments from here on are new
    std::vector<const Episode*> changed;  // new or different, by id
    std::vector<int32_t> gone;            // ids
  };
  Unsaved unsaved() const;
  void mark_saved();
  bool has_unsaved() const { return n_saved_ < segments_.size() || !changed_.empty() || !gone_.empty(); }

  // Products of two vectors since it was made: what growth has cost.
  int64_t dot_products() const { return dot_products_; }

 private:
  EpisodeMap(const EpisodeOptions& options, UnitVectors vectors) : options_(options), vectors_(std::move(vectors)) {}

  struct Near {
    size_t at;  // in episodes_
    float cosine;
  };
  Status check(std::span<const float> unit) const;
  void append(const retrieval::Segment& segment, std::span<const float> unit);
  std::optional<Near> nearest(std::span<const float> unit);
  size_t place(int32_t segment, std::span<const float> unit, bool directed);
  size_t open_episode();
  // True when it was split.
  Result<bool> split_if_large(size_t at);
  void merge_if_small(size_t at);
  // Merges the closest two small episodes but the one at `spared`; false when no two are small enough.
  bool make_room(std::optional<size_t> spared, float above);
  void merge(size_t into, size_t from);
  // Adds one more segment to an episode's figures; the centroid is left to the caller.
  void include(Episode& episode, int32_t segment, std::span<const float> unit);
  void set_segments(Episode& episode, std::vector<int32_t> segments);
  void renew_title(Episode& episode);
  void changed(const Episode& episode) { changed_.insert(episode.id); }

  EpisodeOptions options_;
  UnitVectors vectors_;
  std::vector<retrieval::Segment> segments_;
  std::vector<int32_t> episode_of_;
  std::vector<Episode> episodes_;
  TitleWords words_;
  int32_t next_id_ = 0;
  int64_t dot_products_ = 0;
  size_t n_saved_ = 0;
  std::set<int32_t> changed_, gone_;
};

}  // namespace recalld::episodes
