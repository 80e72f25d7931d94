// How many episodes a session has, and how large one may grow: rules on counts alone, so that they hold for every
// encoder. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "base/status.h"

namespace recalld::episodes {

struct EpisodeOptions {
  int32_t segments_per_episode = 24;  // aimed at
  int32_t max_episodes = 64;
  int32_t n_episodes = 0;  // this many as soon as there are segments enough; 0 = as many as the data ask for

  // A segment opens an episode when its cosine to every centroid is lower. Measured: docs/episodes.md.
  float join_cosine = 0.40f;
  // Two small episodes become one when their centroids are this close.
  float merge_cosine = 0.60f;

  int32_t title_words = 4;
  int32_t seed = 1234;  // of k-means when all are built at once
};

// kInvalidArgument, naming the number and its range.
Status check_episode_options(const EpisodeOptions& options);

// The most episodes there may be.
int32_t episode_limit(const EpisodeOptions& options);

// How many episodes n segments are built into: n_episodes when it is set, else n / segments_per_episode, rounded, and
// at least 1; never more than the limit, nor than n.
int32_t wanted_episodes(const EpisodeOptions& options, int64_t n);

// The size that episodes aim at in a session of n segments: segments_per_episode, more where the limit demands it.
int64_t aimed_size(const EpisodeOptions& options, int64_t n);

// An episode with more segments than this is split in two. 7/4 of the aimed size, so that growing by splits ends in
// about one episode per aimed size.
int64_t split_above(const EpisodeOptions& options, int64_t n);

}  // namespace recalld::episodes
