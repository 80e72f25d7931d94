#include "episodes/episode_storage.h"

#include <cstring>
#include <utility>

namespace recalld::episodes {

namespace {

// EpisodeMapRow::state.
struct State {
  uint32_t version = 1;
  int32_t dim = 0;
  int32_t next_id = 0;
};

std::vector<std::byte> pack(const State& state) {
  std::vector<std::byte> bytes(sizeof state);
  std::memcpy(bytes.data(), &state, sizeof state);
  return bytes;
}

Result<State> unpack(std::span<const std::byte> bytes) {
  State state;
  if (bytes.size() != sizeof state) return corrupt("the stored episodes' state has a wrong length");
  std::memcpy(&state, bytes.data(), sizeof state);
  if (state.version != 1) return corrupt("the stored episodes are of version " + std::to_string(state.version));
  return state;
}

}  // namespace

storage::EpisodeUpdate episode_update(const EpisodeMap& map, const Digest128& encoder,
                                      std::span<const std::vector<std::byte>> details) {
  const EpisodeMap::Unsaved unsaved = map.unsaved();
  storage::EpisodeUpdate update;
  update.map.encoder = encoder;
  update.map.state = pack({1, map.dim(), map.next_id()});
  update.keep_segments = static_cast<int32_t>(unsaved.first_segment);
  for (size_t i = unsaved.first_segment; i < map.n_segments(); ++i) {
    const retrieval::Segment& segment = map.segment(i);
    const std::span<const std::byte> vector = map.vectors().halves(i);
    update.segments.push_back({segment.first_turn,
                               segment.n_turns,
                               segment.token_first,
                               segment.n_tokens,
                               segment.first_ms,
                               segment.last_ms,
                               {vector.begin(), vector.end()}});
    const size_t at = i - unsaved.first_segment;
    if (at >= details.size()) continue;
    std::vector<std::byte>& embedding = update.segments.back().embedding;
    embedding.insert(embedding.end(), details[at].begin(), details[at].end());
  }
  for (const Episode* episode : unsaved.changed) {
    update.episodes.push_back({episode->id, episode->title, episode->first_ms, episode->last_ms, episode->segments});
  }
  update.gone = unsaved.gone;
  return update;
}

std::span<const std::byte> stored_details(const storage::SegmentRow& row, int32_t dim) {
  const size_t vector = static_cast<size_t>(dim) * sizeof(uint16_t);
  if (row.embedding.size() < vector) return {};
  return std::span(row.embedding).subspan(vector);
}

Result<EpisodeMap> restore_episodes(const EpisodeOptions& options, const Digest128& encoder, int32_t dim,
                                    const storage::StoredEpisodes& stored, std::span<const std::string> texts) {
  if (stored.map.encoder != encoder) return failed_precondition("its segments were embedded by another encoder");
  RECALLD_ASSIGN_OR_RETURN(const State state, unpack(stored.map.state));
  if (state.dim != dim || dim < 1) return corrupt("the stored vectors have " + std::to_string(state.dim) + " numbers");
  if (texts.size() != stored.segments.size()) {
    return corrupt(std::to_string(stored.segments.size()) + " stored segments, but texts for " +
                   std::to_string(texts.size()));
  }
  UnitVectors vectors(dim);
  std::vector<retrieval::Segment> segments;
  for (size_t i = 0; i < texts.size(); ++i) {
    const storage::SegmentRow& row = stored.segments[i];
    const size_t n_bytes = static_cast<size_t>(dim) * sizeof(uint16_t);
    if (row.embedding.size() < n_bytes) {
      return corrupt("the stored vector of segment " + std::to_string(i) + " has a wrong length");
    }
    vectors.add_halves(std::span(row.embedding).first(n_bytes));
    segments.push_back(
        {row.first_turn, row.n_turns, row.token_first, row.n_tokens, row.first_ms, row.last_ms, texts[i]});
  }
  std::vector<EpisodeMap::Kept> kept;
  for (const storage::EpisodeRow& row : stored.episodes) kept.push_back({row.id, row.title, row.segments});
  return EpisodeMap::restore(options, std::move(segments), std::move(vectors), std::move(kept), state.next_id);
}

}  // namespace recalld::episodes
