// How one session's segments are found: an index of their words and vectors, and the episodes they group into. It grows
// as the session is read: a segment can be found by its words as soon as it has been read, and by its meaning once its
// texts have been embedded, which happens bit by bit when nothing else waits.
//
// What it holds depends on the segments, their order and the encoder alone. Vectors and episodes are stored beside the
// trunk (docs/storage.md); those of another encoder, or damaged ones, are dropped and made anew.
//
// Not thread-safe: the engine thread owns it.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "daemon/service.h"
#include "episodes/episode_map.h"
#include "episodes/segment_vectors.h"
#include "episodes/transcript_format.h"
#include "retrieval/segment_index.h"
#include "retrieval/select.h"
#include "runtime/text_encoder.h"
#include "storage/rows.h"

namespace recalld::daemon {

// What somebody asks: the words alone, without what a prompt puts around them.
struct AskedText {
  std::string text;
  std::optional<int64_t> asked_ms;  // Unix milliseconds
};

class SessionRecall {
 public:
  // encoder outlives it.
  static Result<std::unique_ptr<SessionRecall>> create(runtime::TextEncoder& encoder,
                                                       const episodes::EpisodeOptions& options = {});

  // The next turn of the transcript, in step with Trunk::push.
  void announce(const episodes::TurnText& turn) { turns_.push_back(turn); }
  // Indexes the words of segments[size()..n): they are complete and read, and their turns have been announced.
  Status extend(std::span<const retrieval::Segment> segments, size_t n);

  size_t size() const { return index_->size(); }
  // Segments that are found by their words alone, as yet.
  size_t n_pending() const { return waiting_.size(); }

  // Embeds texts of the segments that wait, in their order, until about kLearnBytes of text are done or *cancel is
  // true. segments: as in extend. Errors as TextEncoder::embed; what is done stays done.
  Status learn(std::span<const retrieval::Segment> segments, const std::atomic<bool>& cancel);
  static constexpr size_t kLearnBytes = 1024;

  // Takes back what was stored, for the first of the segments that extend() was given; the others wait to be embedded.
  // kFailedPrecondition when another encoder made it, kCorrupt when it does not fit the segments: everything then waits
  // to be embedded, and the next update replaces what is stored. Call before learn().
  Status restore(const storage::StoredEpisodes& stored, std::span<const retrieval::Segment> segments);

  // What changed since mark_saved().
  bool has_unsaved() const { return map_.has_unsaved(); }
  storage::EpisodeUpdate update() const;
  void mark_saved();

  // How well each segment bears on the question. Embeds it.
  Result<retrieval::Ranking> rank(const AskedText& asked);
  // Fills the report's segments, episodes, margin and chosen_tokens.
  void describe(const retrieval::Ranking& ranking, const retrieval::Choice& choice,
                std::span<const retrieval::Segment> segments, RecallReport* report) const;

  // Fills episodes, segments, segments_pending and encoder.
  void describe(MemoryInfo* info) const;

  // Products of vectors that the episodes have cost, and texts that were embedded (questions aside).
  int64_t dot_products() const { return map_.dot_products(); }
  int64_t texts_embedded() const { return texts_embedded_; }

 private:
  SessionRecall(runtime::TextEncoder& encoder, const episodes::EpisodeOptions& options,
                std::unique_ptr<retrieval::SegmentIndex> index, episodes::EpisodeMap map)
      : encoder_(encoder), options_(options), index_(std::move(index)), map_(std::move(map)) {}
  Status settle_segment(std::span<const retrieval::Segment> segments);

  runtime::TextEncoder& encoder_;
  episodes::EpisodeOptions options_;
  std::unique_ptr<retrieval::SegmentIndex> index_;
  episodes::EpisodeMap map_;
  std::deque<episodes::TurnText> turns_;  // announced, from first_turn_ on
  int64_t first_turn_ = 0;
  std::deque<std::vector<retrieval::SegmentTurn>> waiting_;  // of segments [map_.n_segments(), size())
  std::optional<episodes::SegmentEmbedder> embedder_;        // of the first that waits
  std::vector<std::vector<std::byte>> unsaved_vectors_;      // of the map's unsaved segments
  int64_t texts_embedded_ = 0;
};

}  // namespace recalld::daemon
