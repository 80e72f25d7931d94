#include "episodes/episode_sizes.h"

#include <algorithm>
#include <string>

namespace recalld::episodes {

namespace {

// Fewer cannot be split in a way that means anything.
constexpr int64_t kSmallestAim = 4;

Status check_range(const char* name, int32_t value, int32_t low, int32_t high) {
  if (value >= low && value <= high) return ok_status();
  return invalid_argument(std::string(name) + " is " + std::to_string(value) + "; it must be " + std::to_string(low) +
                          " to " + std::to_string(high));
}

Status check_cosine(const char* name, float value) {
  if (value >= -1.0f && value <= 1.0f) return ok_status();
  return invalid_argument(std::string(name) + " is " + std::to_string(value) + "; it must be -1 to 1");
}

}  // namespace

Status check_episode_options(const EpisodeOptions& options) {
  RECALLD_RETURN_IF_ERROR(
      check_range("segments_per_episode", options.segments_per_episode, static_cast<int32_t>(kSmallestAim), 4096));
  RECALLD_RETURN_IF_ERROR(check_range("max_episodes", options.max_episodes, 1, 1024));
  RECALLD_RETURN_IF_ERROR(check_range("n_episodes", options.n_episodes, 0, options.max_episodes));
  RECALLD_RETURN_IF_ERROR(check_range("title_words", options.title_words, 0, 16));
  RECALLD_RETURN_IF_ERROR(check_cosine("join_cosine", options.join_cosine));
  return check_cosine("merge_cosine", options.merge_cosine);
}

int32_t episode_limit(const EpisodeOptions& options) {
  return options.n_episodes > 0 ? options.n_episodes : options.max_episodes;
}

int32_t wanted_episodes(const EpisodeOptions& options, int64_t n) {
  if (n <= 0) return 0;
  const int64_t per = options.segments_per_episode;
  const int64_t wanted = options.n_episodes > 0 ? options.n_episodes : std::max<int64_t>(1, (n + per / 2) / per);
  return static_cast<int32_t>(std::min({wanted, static_cast<int64_t>(episode_limit(options)), n}));
}

int64_t aimed_size(const EpisodeOptions& options, int64_t n) {
  const int64_t shared = n / episode_limit(options);
  if (options.n_episodes > 0) return std::max(kSmallestAim, shared);
  return std::max<int64_t>(options.segments_per_episode, shared);
}

int64_t split_above(const EpisodeOptions& options, int64_t n) { return aimed_size(options, n) * 7 / 4; }

}  // namespace recalld::episodes
