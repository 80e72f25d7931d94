#include "daemon/session_memory.h"

#include <algorithm>
#include <span>

#include "daemon/reading_position.h"

namespace recalld::daemon {
namespace {

constexpr int64_t kSaveEveryNs = 1'500'000'000;

// Damage that reading the transcript again repairs.
bool is_page_fault(const Status& status) {
  return status.code() == StatusCode::kCorrupt || status.code() == StatusCode::kFailedPrecondition ||
         status.code() == StatusCode::kNotFound || status.code() == StatusCode::kUnsupported;
}

}  // namespace

episodes::TurnText to_turn_text(const storage::TurnRow& row) { return {row.role, row.speaker, row.text, row.time_ms}; }

SessionMemory::SessionMemory(const MemoryContext& context, std::string session, episodes::TranscriptFormat format)
    : context_(context), session_(std::move(session)), format_(std::move(format)) {
  touch();
}

Status SessionMemory::make_trunk() {
  episodes::TrunkOptions options = context_.trunk;
  options.fingerprint = episodes::trunk_fingerprint(context_.model->fingerprint(), format_.version(), options);
  trunk_ = std::make_unique<episodes::Trunk>(context_.model->cache_shape(), context_.pool, options);
  trunk_->set_loader(
      [this](size_t group) -> Result<cache::ChunkPtr> { return load_stored(static_cast<int32_t>(group)); });
  RECALLD_ASSIGN_OR_RETURN(recall_, SessionRecall::create(*context_.encoder));
  return ok_status();
}

Result<cache::ChunkPtr> SessionMemory::load_stored(int32_t index) {
  RECALLD_ASSIGN_OR_RETURN(const AlignedBuffer packed, context_.stores->kv().load_chunk(session_, index));
  const episodes::TrunkOptions& options = trunk_->options();
  RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk,
                           cache::unpack_chunk(packed.span(), options.fingerprint, *context_.pool, options.plan));
  RECALLD_RETURN_IF_ERROR(cache::check_chunk(context_.model->cache_shape(), *chunk));
  return chunk;
}

Result<std::unique_ptr<SessionMemory>> SessionMemory::open(const MemoryContext& context, const std::string& session,
                                                           episodes::Style style) {
  RECALLD_ASSIGN_OR_RETURN(
      episodes::TranscriptFormat format,
      episodes::TranscriptFormat::create(context.tokenizer, context.model->info().chat_template, style));
  std::unique_ptr<SessionMemory> memory(new SessionMemory(context, session, std::move(format)));
  RECALLD_RETURN_IF_ERROR(memory->make_trunk());
  const Status restored = memory->restore();
  if (!restored.ok()) {
    if (!is_page_fault(restored)) return restored;
    RECALLD_RETURN_IF_ERROR(memory->start_over(restored.message()));
  }
  memory->publish();
  return memory;
}

Status SessionMemory::restore() {
  RECALLD_ASSIGN_OR_RETURN(const auto stored, context_.stores->kv().trunk_and_chunks(session_));
  if (!stored.has_value()) return ok_status();
  if (stored->trunk.fingerprint != trunk_->options().fingerprint)
    return failed_precondition("its pages were made by another model or other settings");
  RECALLD_ASSIGN_OR_RETURN(ReadingPosition position, unpack_position(stored->trunk.state));
  std::vector<retrieval::PageGroup> groups;
  std::vector<cache::ChunkPtr> tail;
  for (const storage::ChunkInfo& info : stored->chunks) {
    if (info.kind == storage::ChunkKind::kPages) {
      groups.push_back({info.token_first, info.n_tokens, false, nullptr});
      continue;
    }
    RECALLD_ASSIGN_OR_RETURN(cache::ChunkPtr chunk, load_stored(info.idx));
    tail.push_back(std::move(chunk));
  }
  RECALLD_RETURN_IF_ERROR(announce_read(stored->trunk.n_turns, position.turn_offset));
  RECALLD_RETURN_IF_ERROR(trunk_->restore(std::move(groups), tail, std::move(position.view)));
  if (trunk_->n_tokens() != stored->trunk.n_tokens) return corrupt("stored pages do not add up to the stored tokens");
  return restore_recall();
}

Status SessionMemory::restore_recall() {
  RECALLD_RETURN_IF_ERROR(extend_recall());
  auto stored = context_.stores->kv().episodes(session_);
  Status restored = stored.status();
  if (stored.ok()) {
    if (!stored->has_value()) return ok_status();
    restored = recall_->restore(**stored, segments());
  }
  if (restored.ok() || !is_page_fault(restored)) return restored;
  context_.log(LogLevel::kWarning, "session " + session_ + ": its segments are embedded anew (" + restored.message() +
                                       "); until then they are found by their words");
  return ok_status();
}

Status SessionMemory::extend_recall() {
  const auto& all = segments();
  size_t n = recall_->size();
  while (n < trunk_->segmenter().n_closed() && all[n].token_first + all[n].n_tokens <= trunk_->n_tokens()) ++n;
  return recall_->extend(all, n);
}

Status SessionMemory::learn_step(const std::atomic<bool>& cancel) {
  RECALLD_RETURN_IF_ERROR(recall_->learn(segments(), cancel));
  publish();
  return ok_status();
}

Status SessionMemory::announce_read(int64_t n_turns, size_t turn_offset) {
  while (next_turn_ < n_turns) {
    RECALLD_ASSIGN_OR_RETURN(const auto turns, next_turns(std::min(n_turns - next_turn_, kTurnsPerLook)));
    if (turns.empty()) return corrupt("the transcript has fewer turns than were read of it");
    for (const episodes::TurnTokens& turn : turns) announce(turn);
  }
  turns_read_ = n_turns;
  if (turn_offset == 0) return ok_status();
  RECALLD_RETURN_IF_ERROR(look().status());
  if (pending_.empty() || pending_.front().turn.tokens.size() < turn_offset)
    return corrupt("the stored reading position is past the end of its turn");
  announce(pending_.front().turn);
  pending_.front().announced = true;
  pending_.front().read = turn_offset;
  return ok_status();
}

void SessionMemory::announce(const episodes::TurnTokens& turn) {
  trunk_->push(turn.turn, static_cast<int32_t>(turn.tokens.size()), turn.date);
  recall_->announce(turn.turn);
}

Status SessionMemory::start_over(const std::string& reason) {
  const auto dropped_groups = static_cast<int64_t>(std::max<size_t>(trunk_->groups().size(), 1));
  pages_dropped_ += dropped_groups;
  *context_.pages_dropped += dropped_groups;
  rebuilding_ = true;
  context_.log(LogLevel::kWarning,
               "session " + session_ + ": memory dropped (" + reason + "); reading the transcript again");
  RECALLD_RETURN_IF_ERROR(make_trunk());
  pending_.clear();
  next_turn_ = turns_read_ = 0;
  const Status dropped = context_.stores->kv().drop_trunk(session_);
  publish();
  return dropped.code() == StatusCode::kStorageFull ? ok_status() : dropped;
}

Result<std::vector<int32_t>> SessionMemory::turn_tokens(int64_t index, const episodes::TurnText& turn) const {
  const int64_t first =
      std::max<int64_t>(0, index - static_cast<int64_t>(episodes::TranscriptFormat::kContextTurns) - 1);
  std::vector<episodes::TurnText> before;
  if (index > 0) {
    RECALLD_ASSIGN_OR_RETURN(const auto rows, context_.stores->memory().turns(session_, first, index - first));
    for (const storage::TurnRow& row : rows) before.push_back(to_turn_text(row));
  }
  return tokens_of(index, before, turn);
}

Result<std::vector<int32_t>> SessionMemory::tokens_of(int64_t index, std::span<const episodes::TurnText> before,
                                                      const episodes::TurnText& turn) const {
  RECALLD_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, format_.turn(before, turn));
  if (index == 0) {
    const std::vector<int32_t> start = format_.start();
    tokens.insert(tokens.begin(), start.begin(), start.end());
  }
  return tokens;
}

Result<std::vector<episodes::TurnTokens>> SessionMemory::next_turns(int64_t max_turns) {
  const int64_t context_turns = static_cast<int64_t>(episodes::TranscriptFormat::kContextTurns) + 1;
  const int64_t first = std::max<int64_t>(0, next_turn_ - context_turns);
  RECALLD_ASSIGN_OR_RETURN(const auto rows,
                           context_.stores->memory().turns(session_, first, next_turn_ - first + max_turns));
  std::vector<episodes::TurnTokens> found;
  std::vector<episodes::TurnText> turns;
  for (const storage::TurnRow& row : rows) {
    const episodes::TurnText turn = to_turn_text(row);
    if (row.idx >= next_turn_) {
      RECALLD_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokens_of(row.idx, turns, turn));
      const episodes::DateLine date = format_.date_line(turns, turn, tokens);
      found.push_back({turn, std::move(tokens), date});
      next_turn_ = row.idx + 1;
    }
    turns.push_back(turn);
  }
  return found;
}

Result<bool> SessionMemory::look(int64_t max_turns) {
  int64_t index = next_turn_;
  RECALLD_ASSIGN_OR_RETURN(auto turns, next_turns(max_turns));
  for (episodes::TurnTokens& turn : turns) pending_.push_back({index++, std::move(turn)});
  publish();
  return has_pending();
}

int64_t SessionMemory::pending_tokens() const {
  int64_t sum = 0;
  for (const Pending& waiting : pending_)
    if (waiting.index < limit_) sum += static_cast<int64_t>(waiting.turn.tokens.size() - waiting.read);
  return sum;
}

std::vector<int32_t> SessionMemory::newest_pending(int64_t max_tokens) const {
  std::vector<std::span<const int32_t>> taken;
  auto room = static_cast<size_t>(std::max<int64_t>(max_tokens, 0));
  for (auto waiting = pending_.rbegin(); waiting != pending_.rend() && room > 0; ++waiting) {
    if (waiting->index >= limit_) continue;
    const std::span<const int32_t> unread = std::span(waiting->turn.tokens).subspan(waiting->read);
    taken.push_back(unread.last(std::min(room, unread.size())));
    room -= taken.back().size();
  }
  std::vector<int32_t> tokens;
  for (auto part = taken.rbegin(); part != taken.rend(); ++part)
    tokens.insert(tokens.end(), part->begin(), part->end());
  return tokens;
}

Status SessionMemory::read_step(runtime::Engine& engine, const std::atomic<bool>* cancel) {
  // A turn is announced when its reading begins: what must not be read yet must not shape the segments either.
  for (Pending& waiting : pending_) {
    if (waiting.index >= limit_ || trunk_->block_end().has_value()) break;
    if (!waiting.announced) announce(waiting.turn);
    waiting.announced = true;
  }
  std::vector<int32_t> tokens;
  const auto room = static_cast<size_t>(trunk_->room());
  for (const Pending& waiting : pending_) {
    if (!waiting.announced || tokens.size() == room) break;
    const size_t count = std::min(room - tokens.size(), waiting.turn.tokens.size() - waiting.read);
    const auto from = waiting.turn.tokens.begin() + static_cast<ptrdiff_t>(waiting.read);
    tokens.insert(tokens.end(), from, from + static_cast<ptrdiff_t>(count));
  }
  Status status;
  size_t left = tokens.size();
  if (!tokens.empty()) {
    const int64_t before = trunk_->n_tokens();
    status = trunk_->read(engine, tokens, cancel);
    if (!status.ok() && is_page_fault(status)) return start_over(status.message());
    // A read may fail after its tokens went in (no memory for their pages): they must not be read twice.
    if (trunk_->n_tokens() == before) return status;
  }
  while (!pending_.empty() && pending_.front().announced) {
    Pending& waiting = pending_.front();
    const size_t count = std::min(left, waiting.turn.tokens.size() - waiting.read);
    waiting.read += count;
    left -= count;
    if (waiting.read < waiting.turn.tokens.size()) break;
    turns_read_ = waiting.index + 1;
    pending_.pop_front();
  }
  const Status extended = extend_recall();
  publish();
  return status.ok() ? extended : status;
}

Status SessionMemory::save() {
  if (!has_unsaved()) return ok_status();
  RECALLD_ASSIGN_OR_RETURN(const episodes::Trunk::Unsaved unsaved, trunk_->unsaved());
  const auto& groups = trunk_->groups();
  std::vector<storage::NewChunk> chunks;
  const auto add = [&](size_t index, const retrieval::PageGroup& group, storage::ChunkKind kind) -> Status {
    RECALLD_ASSIGN_OR_RETURN(std::vector<std::byte> bytes, cache::pack_chunk(*group.chunk));
    const auto packed = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    chunks.push_back({static_cast<int32_t>(index), kind, group.token_start, group.n_tokens, *packed, packed,
                      static_cast<int64_t>(group.chunk->buffer->size())});
    return ok_status();
  };
  for (size_t i = unsaved.first_changed; i < groups.size(); ++i)
    RECALLD_RETURN_IF_ERROR(add(i, groups[i], storage::ChunkKind::kPages));
  for (size_t i = 0; i < unsaved.tail.size(); ++i)
    RECALLD_RETURN_IF_ERROR(add(groups.size() + i, unsaved.tail[i], storage::ChunkKind::kTail));
  storage::TrunkRow row;
  row.fingerprint = trunk_->options().fingerprint;
  row.n_tokens = trunk_->n_tokens();
  row.n_turns = turns_read_;
  const bool inside_turn = !pending_.empty() && pending_.front().index == turns_read_;
  row.state = pack_position(
      {inside_turn ? pending_.front().read : 0, recall_->n_pending(), context_.encoder->fingerprint(), unsaved.view});
  std::optional<storage::EpisodeUpdate> episodes;
  if (recall_->has_unsaved()) episodes = recall_->update();
  RECALLD_RETURN_IF_ERROR(context_.stores->kv().put_trunk(
      session_, std::move(row), std::move(chunks), static_cast<int32_t>(unsaved.first_changed), std::move(episodes)));
  trunk_->mark_saved();
  recall_->mark_saved();
  last_save_ns_ = context_.clock->monotonic_ns();
  rebuilding_ = rebuilding_ && has_pending();
  publish();
  return ok_status();
}

Status SessionMemory::save_if_due() {
  if (!has_unsaved()) return ok_status();
  const bool goes_on = has_pending() || recall_->n_pending() > 0;
  if (goes_on && context_.clock->monotonic_ns() - last_save_ns_ < kSaveEveryNs) return ok_status();
  return save();
}

Result<std::vector<retrieval::PageGroup>> SessionMemory::groups() const {
  std::vector<retrieval::PageGroup> all = trunk_->groups();
  RECALLD_ASSIGN_OR_RETURN(const std::vector<retrieval::PageGroup> tail, trunk_->tail());
  all.insert(all.end(), tail.begin(), tail.end());
  return all;
}

Result<cache::ChunkPtr> SessionMemory::load(size_t group) { return trunk_->load(group); }

MemoryInfo SessionMemory::snapshot() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

void SessionMemory::publish() {
  MemoryInfo info;
  info.turns = next_turn_;
  info.tokens_ready = trunk_->n_tokens();
  for (const Pending& waiting : pending_)
    info.tokens_pending += static_cast<int64_t>(waiting.turn.tokens.size() - waiting.read);
  info.tokens_total = info.tokens_ready + info.tokens_pending;
  info.pages = static_cast<int64_t>(trunk_->groups().size() * context_.model->cache_shape().layers.size());
  info.bytes_ram = static_cast<int64_t>(trunk_->bytes());
  info.bytes_f16 = info.tokens_ready * static_cast<int64_t>(context_.model->cache_shape().f16_bytes_per_token());
  info.codec = context_.codec;
  info.state = pending_.empty() && !has_work() ? "ready" : rebuilding_ ? "rebuilding" : "reading";
  info.reading = episodes::reading_policy_name(context_.trunk.reading);
  info.recall_tokens = context_.recall_tokens;
  recall_->describe(&info);
  info.pages_dropped = pages_dropped_;
  const std::lock_guard lock(mutex_);
  published_ = std::move(info);
}

}  // namespace recalld::daemon
