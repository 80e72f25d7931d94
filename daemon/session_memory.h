// One session's memory while it is in use: its trunk, how far the transcript has been read, and what waits to be read.
//
// Owned and called by the engine thread; snapshot() by any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "daemon/open_service.h"
#include "daemon/service.h"
#include "daemon/session_recall.h"
#include "episodes/transcript_format.h"
#include "episodes/trunk.h"
#include "runtime/engine.h"
#include "storage/stores.h"

namespace recalld::daemon {

// What all sessions share.
struct MemoryContext {
  std::shared_ptr<const runtime::Model> model;
  std::shared_ptr<const runtime::Tokenizer> tokenizer;
  std::shared_ptr<cache::MemoryPool> pool;
  storage::Stores* stores = nullptr;
  const Clock* clock = nullptr;
  EventLog log;
  episodes::TrunkOptions trunk;  // fingerprint is set per session
  runtime::TextEncoder* encoder = nullptr;
  int64_t recall_tokens = 0;  // for reports
  std::string codec;
  std::atomic<int64_t>* pages_dropped = nullptr;  // counts page groups that failed a check
};

class SessionMemory {
 public:
  // Restores what kv.db has; pages that fail their checks are dropped and counted, and the transcript is read anew.
  static Result<std::unique_ptr<SessionMemory>> open(const MemoryContext& context, const std::string& session,
                                                     episodes::Style style);

  const std::string& session() const { return session_; }
  // Of the turns whose reading has begun; see Trunk::segments.
  const std::vector<retrieval::Segment>& segments() const { return trunk_->segments(); }
  const episodes::TranscriptFormat& format() const { return format_; }
  episodes::Trunk& trunk() { return *trunk_; }
  SessionRecall& recall() { return *recall_; }

  // Turns below this index may be read; the question being answered and what follows stay out.
  void set_limit(int64_t turn) { limit_ = turn; }
  void clear_limit() { limit_ = INT64_MAX; }

  // Looks for new turns in the transcript and tokenizes at most max_turns of them. True when something waits to be
  // read.
  static constexpr int64_t kTurnsPerLook = 64;
  Result<bool> look(int64_t max_turns = kTurnsPerLook);
  bool has_pending() const { return !pending_.empty() && pending_.front().index < limit_; }
  // Tokens waiting below the limit, of the turns looked at so far.
  int64_t pending_tokens() const;
  // The newest waiting tokens below the limit, at most max_tokens, in the order they were said. The oldest turn may be
  // cut: of a turn longer than that its end is all there is room for.
  std::vector<int32_t> newest_pending(int64_t max_tokens) const;

  // Reads one step of what waits (at most to the next block boundary). A lost or damaged page starts the trunk anew and
  // is no error.
  Status read_step(runtime::Engine& engine, const std::atomic<bool>* cancel);
  // Embeds some of what was read, until *cancel is true; see SessionRecall::learn.
  Status learn_step(const std::atomic<bool>& cancel);
  // True when something was read that is not embedded yet, or something is not saved yet.
  bool has_work() const { return recall_->n_pending() > 0 || has_unsaved(); }
  // Writes what changed to kv.db. kStorageFull leaves it in memory for a later try.
  Status save();
  // save(), when something changed and either nothing waits or the last save is a while ago.
  Status save_if_due();

  // Every page group of the session, loaded where `chosen` says, the newest rows at the end.
  Result<std::vector<retrieval::PageGroup>> groups() const;
  // A group's pages, from disk if need be; a damaged one starts the trunk anew (kCorrupt).
  Result<cache::ChunkPtr> load(size_t group);
  // Forgets the trunk, in memory and in kv.db, and reads the transcript from its first turn.
  Status start_over(const std::string& reason);

  Result<std::vector<int32_t>> turn_tokens(int64_t index, const episodes::TurnText& turn) const;

  MemoryInfo snapshot() const;
  int64_t last_used_ns() const { return last_used_ns_; }
  void touch() { last_used_ns_ = context_.clock->monotonic_ns(); }

 private:
  struct Pending {
    int64_t index;
    episodes::TurnTokens turn;
    size_t read = 0;         // of its tokens
    bool announced = false;  // to the trunk
  };

  SessionMemory(const MemoryContext& context, std::string session, episodes::TranscriptFormat format);
  Status make_trunk();
  bool has_unsaved() const { return trunk_->has_unsaved() || recall_->has_unsaved(); }
  // Makes what was read since findable by its words.
  Status extend_recall();
  Status restore_recall();
  Status restore();
  // The turns that were read, and the first turn_offset tokens of the one after them, from the transcript.
  Status announce_read(int64_t n_turns, size_t turn_offset);
  // To the trunk and to the index.
  void announce(const episodes::TurnTokens& turn);
  // All tokens of a turn, after those before it; the first one's begin with what the transcript starts with.
  Result<std::vector<int32_t>> tokens_of(int64_t index, std::span<const episodes::TurnText> before,
                                         const episodes::TurnText& turn) const;
  // The next turns of the transcript and their tokens; next_turn_ moves past them.
  Result<std::vector<episodes::TurnTokens>> next_turns(int64_t max_turns);
  void publish();
  // A chunk as it was saved. Errors as KvStore::load_chunk, cache::unpack_chunk and cache::check_chunk.
  Result<cache::ChunkPtr> load_stored(int32_t index);

  const MemoryContext& context_;
  std::string session_;
  episodes::TranscriptFormat format_;
  std::unique_ptr<episodes::Trunk> trunk_;
  std::unique_ptr<SessionRecall> recall_;
  std::deque<Pending> pending_;
  int64_t next_turn_ = 0;   // first turn not looked at
  int64_t turns_read_ = 0;  // whole turns in the trunk
  int64_t limit_ = INT64_MAX;
  int64_t pages_dropped_ = 0;
  bool rebuilding_ = false;
  int64_t last_save_ns_ = 0, last_used_ns_ = 0;
  mutable std::mutex mutex_;
  MemoryInfo published_;
};

// A stored turn as the format takes it, and back.
episodes::TurnText to_turn_text(const storage::TurnRow& row);

}  // namespace recalld::daemon
