#include "daemon/session_recall.h"

#include <algorithm>
#include <set>
#include <utility>

#include "episodes/episode_storage.h"

namespace recalld::daemon {
namespace {

bool same_place(const storage::SegmentRow& row, const retrieval::Segment& segment) {
  return row.first_turn == segment.first_turn && row.n_turns == segment.n_turns &&
         row.token_first == segment.token_first && row.n_tokens == segment.n_tokens;
}

RecalledSegment report_of(const retrieval::RankedSegment& ranked, const retrieval::Segment& segment) {
  RecalledSegment recalled;
  recalled.first_turn = segment.first_turn;
  recalled.n_turns = segment.n_turns;
  recalled.n_tokens = segment.n_tokens;
  recalled.first_ms = segment.first_ms;
  recalled.last_ms = segment.last_ms;
  recalled.episode = static_cast<int32_t>(ranked.episode.value_or(-1));
  recalled.score = ranked.score;
  recalled.dense = ranked.signals.dense;
  recalled.lexical = ranked.signals.lexical;
  recalled.neighbours = ranked.signals.neighbours;
  recalled.speaker = ranked.signals.speaker;
  recalled.time = ranked.signals.time;
  recalled.prior = ranked.signals.episode;
  recalled.words = ranked.words;
  return recalled;
}

}  // namespace

Result<std::unique_ptr<SessionRecall>> SessionRecall::create(runtime::TextEncoder& encoder,
                                                             const episodes::EpisodeOptions& options) {
  RECALLD_ASSIGN_OR_RETURN(auto index, retrieval::SegmentIndex::create(encoder.dim()));
  RECALLD_ASSIGN_OR_RETURN(auto map, episodes::EpisodeMap::create(options, encoder.dim()));
  return std::unique_ptr<SessionRecall>(new SessionRecall(encoder, options, std::move(index), std::move(map)));
}

Status SessionRecall::extend(std::span<const retrieval::Segment> segments, size_t n) {
  for (size_t i = size(); i < n; ++i) {
    const retrieval::Segment& segment = segments[i];
    // A turn that was cut is needed by each of its segments.
    while (first_turn_ < segment.first_turn && !turns_.empty()) {
      turns_.pop_front();
      ++first_turn_;
    }
    std::vector<episodes::TurnText> own(turns_.begin(),
                                        turns_.begin() + std::min<ptrdiff_t>(segment.n_turns, std::ssize(turns_)));
    std::vector<retrieval::SegmentTurn> turns = episodes::segment_turns(segment, own);
    RECALLD_RETURN_IF_ERROR(index_->add(segment, turns));
    waiting_.push_back(std::move(turns));
  }
  return ok_status();
}

Status SessionRecall::learn(std::span<const retrieval::Segment> segments, const std::atomic<bool>& cancel) {
  size_t bytes = 0;
  while (!waiting_.empty() && bytes < kLearnBytes && !cancel) {
    if (!embedder_.has_value()) embedder_.emplace(waiting_.front());
    while (!embedder_->done() && !cancel) {
      bytes += embedder_->next_bytes();
      RECALLD_RETURN_IF_ERROR(embedder_->step(encoder_));
      ++texts_embedded_;
    }
    if (!embedder_->done()) break;
    RECALLD_RETURN_IF_ERROR(settle_segment(segments));
  }
  return ok_status();
}

Status SessionRecall::settle_segment(std::span<const retrieval::Segment> segments) {
  const std::vector<retrieval::SegmentTurn> turns = embedder_->take();
  embedder_.reset();
  waiting_.pop_front();
  const size_t at = map_.n_segments();
  RECALLD_RETURN_IF_ERROR(index_->set_vectors(at, turns));
  unsaved_vectors_.push_back(episodes::pack_vectors(turns));
  const auto placed = map_.add(segments[at], episodes::segment_vector(turns, encoder_.dim()));
  // An episode that could not be split is only larger than it should be.
  return placed.ok() || map_.n_segments() > at ? ok_status() : placed.status();
}

Status SessionRecall::restore(const storage::StoredEpisodes& stored, std::span<const retrieval::Segment> segments) {
  const size_t n = stored.segments.size();
  if (n > size()) return corrupt("more segments are stored than were read");
  std::vector<std::string> texts;
  std::vector<std::vector<retrieval::SegmentTurn>> vectors;
  for (size_t i = 0; i < n; ++i) {
    if (!same_place(stored.segments[i], segments[i]))
      return corrupt("stored segment " + std::to_string(i) + " is another than the transcript's");
    texts.push_back(segments[i].text);
  }
  RECALLD_ASSIGN_OR_RETURN(auto map,
                           episodes::restore_episodes(options_, encoder_.fingerprint(), encoder_.dim(), stored, texts));
  for (size_t i = 0; i < n; ++i) {
    RECALLD_ASSIGN_OR_RETURN(
        auto turns,
        episodes::unpack_vectors(episodes::stored_details(stored.segments[i], encoder_.dim()), encoder_.dim()));
    if (turns.size() != waiting_[i].size())
      return corrupt("stored segment " + std::to_string(i) + " has vectors of another number of turns");
    vectors.push_back(std::move(turns));
  }
  for (size_t i = 0; i < n; ++i) RECALLD_RETURN_IF_ERROR(index_->set_vectors(i, vectors[i]));
  map_ = std::move(map);
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<ptrdiff_t>(n));
  return ok_status();
}

storage::EpisodeUpdate SessionRecall::update() const {
  return episodes::episode_update(map_, encoder_.fingerprint(), unsaved_vectors_);
}

void SessionRecall::mark_saved() {
  map_.mark_saved();
  unsaved_vectors_.clear();
}

Result<retrieval::Ranking> SessionRecall::rank(const AskedText& asked) {
  for (size_t i = 0; i < map_.n_segments(); ++i) RECALLD_RETURN_IF_ERROR(index_->set_episode(i, map_.episode_of(i)));
  retrieval::Question question{asked.text, asked.asked_ms, {}, {}};
  if (map_.n_segments() > 0) {
    RECALLD_ASSIGN_OR_RETURN(question.embedding, encoder_.embed(asked.text));
    const std::string bare = index_->bare_question(asked.text);
    if (bare != asked.text) {
      RECALLD_ASSIGN_OR_RETURN(question.bare_embedding, encoder_.embed(bare));
    }
  }
  return index_->search(question);
}

void SessionRecall::describe(const retrieval::Ranking& ranking, const retrieval::Choice& choice,
                             std::span<const retrieval::Segment> segments, RecallReport* report) const {
  std::set<int32_t> ids;
  for (const retrieval::RankedSegment& ranked : choice.segments) {
    report->segments.push_back(report_of(ranked, segments[ranked.segment]));
    if (ranked.episode) ids.insert(static_cast<int32_t>(*ranked.episode));
  }
  for (const int32_t id : ids) {
    const episodes::Episode* episode = map_.find(id);
    if (episode != nullptr) report->episodes.push_back({id, episode->title, episode->first_ms, episode->last_ms});
  }
  report->margin = ranking.margin;
  report->chosen_tokens = choice.n_tokens;
}

void SessionRecall::describe(MemoryInfo* info) const {
  for (const episodes::Episode& episode : map_.episodes())
    info->episodes.push_back({episode.id, episode.title, episode.first_ms, episode.last_ms,
                              std::ssize(episode.segments), episode.n_turns, episode.n_tokens});
  info->segments = static_cast<int64_t>(size());
  info->segments_pending = static_cast<int64_t>(n_pending());
  info->encoder = encoder_.name();
}

}  // namespace recalld::daemon
