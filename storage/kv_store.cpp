#include "storage/kv_store.h"

#include <mutex>
#include <utility>

#include "storage/episode_rows.h"
#include "storage/integrity.h"
#include "storage/kv_rows.h"
#include "storage/settings.h"
#include "storage/store_file.h"

namespace recalld::storage {

namespace {

// What one transaction of a removal deletes: other writes get their turn between.
constexpr int64_t kRemoveBytes = int64_t{16} << 20;

Status check_put(std::string_view session, const std::vector<NewChunk>& chunks, int32_t keep_below,
                 const std::optional<EpisodeUpdate>& episodes) {
  if (session.empty()) return invalid_argument("a trunk needs a session");
  if (keep_below < 0) return invalid_argument("keep_below_idx is negative");
  for (const NewChunk& chunk : chunks) {
    if (chunk.idx < 0) return invalid_argument("a chunk index is negative");
    if (chunk.payload.size() > static_cast<size_t>(kMaxChunkBytes)) {
      return too_large("chunk " + std::to_string(chunk.idx) + " has " + std::to_string(chunk.payload.size()) +
                       " bytes, more than " + std::to_string(kMaxChunkBytes));
    }
  }
  return episodes ? check_episodes(*episodes) : ok_status();
}

size_t cost_of(const std::vector<NewChunk>& chunks, const std::optional<EpisodeUpdate>& episodes) {
  size_t bytes = 0;
  for (const NewChunk& chunk : chunks) bytes += chunk.payload.size();
  if (!episodes) return bytes;
  for (const SegmentRow& segment : episodes->segments) bytes += segment.embedding.size();
  return bytes;
}

}  // namespace

struct KvStore::Impl {
  std::unique_ptr<StoreFile> file;
  const Clock& clock;
  SessionExists session_exists;
  // Long reads hold the WAL back, and a removal must empty it: one at a time.
  std::mutex maintenance;

  StoreFile::Body put_body(std::string_view session, TrunkRow trunk, std::vector<NewChunk> chunks, int32_t keep_below,
                           std::optional<EpisodeUpdate> episodes);
};

// The checksums are computed here, on the caller's thread.
StoreFile::Body KvStore::Impl::put_body(std::string_view session, TrunkRow trunk, std::vector<NewChunk> chunks,
                                        int32_t keep_below, std::optional<EpisodeUpdate> episodes) {
  std::vector<uint64_t> checksums;
  for (const NewChunk& chunk : chunks) checksums.push_back(checksum64(chunk.payload));
  return [this, session = std::string(session), trunk = std::move(trunk), chunks = std::move(chunks),
          checksums = std::move(checksums), keep_below, episodes = std::move(episodes)](Database& database) -> Status {
    RECALLD_ASSIGN_OR_RETURN(const bool exists, session_exists(session));
    if (!exists) return not_found("there is no session " + session);
    RECALLD_RETURN_IF_ERROR(delete_replaced(database, session, keep_below));
    for (size_t i = 0; i < chunks.size(); ++i) {
      RECALLD_RETURN_IF_ERROR(insert_chunk(database, session, chunks[i], checksums[i]));
    }
    if (episodes) RECALLD_RETURN_IF_ERROR(update_episodes(database, session, *episodes));
    return upsert_trunk(database, session, trunk, clock.now_ms());
  };
}

KvStore::KvStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KvStore::~KvStore() = default;

Result<std::unique_ptr<KvStore>> KvStore::open(const std::string& directory, const Clock& clock,
                                               const StoreOptions& options, Writer& writer,
                                               SessionExists session_exists, std::vector<std::string>& notes) {
  FileSpec spec;
  spec.path = directory + "/kv.db";
  spec.schema = kKvSchema;
  spec.page_size = kKvPageSize;
  spec.sync_every_commit = false;
  spec.cache_kib = 8192;
  spec.checkpoint_frames = (16 << 20) / kKvPageSize;
  spec.oldest_version = 3;
  spec.lane = Writer::Lane::kKv;
  Result<std::unique_ptr<StoreFile>> file = StoreFile::open(spec, options, writer, notes);
  if (!file.ok() && file.status().code() == StatusCode::kCorrupt) {
    RECALLD_ASSIGN_OR_RETURN(const std::string name, set_aside(spec.path));
    notes.push_back(file.status().message() + "; it was set aside as " + name +
                    " and a new one was made: memory is rebuilt from the transcripts");
    file = StoreFile::open(spec, options, writer, notes);
  }
  if (!file.ok()) return file.status();
  return std::unique_ptr<KvStore>(
      new KvStore(std::unique_ptr<Impl>(new Impl{std::move(file).value(), clock, std::move(session_exists), {}})));
}

Status KvStore::put_trunk(std::string_view session, TrunkRow trunk, std::vector<NewChunk> new_chunks,
                          int32_t keep_below_idx, std::optional<EpisodeUpdate> episodes) {
  RECALLD_RETURN_IF_ERROR(check_put(session, new_chunks, keep_below_idx, episodes));
  const size_t cost = cost_of(new_chunks, episodes);
  return impl_->file->write(
      cost, impl_->put_body(session, std::move(trunk), std::move(new_chunks), keep_below_idx, std::move(episodes)));
}

void KvStore::put_trunk_async(std::string_view session, TrunkRow trunk, std::vector<NewChunk> new_chunks,
                              int32_t keep_below_idx, std::function<void(const Status&)> done,
                              std::optional<EpisodeUpdate> episodes) {
  Status valid = check_put(session, new_chunks, keep_below_idx, episodes);
  for (const NewChunk& chunk : new_chunks) {
    if (valid.ok() && chunk.owner == nullptr) valid = invalid_argument("a chunk that is written later needs an owner");
  }
  const size_t cost = cost_of(new_chunks, episodes);
  StoreFile::Body body = [valid](Database&) { return valid; };
  if (valid.ok()) {
    body = impl_->put_body(session, std::move(trunk), std::move(new_chunks), keep_below_idx, std::move(episodes));
  }
  impl_->file->write_async(cost, std::move(body), std::move(done));
}

Result<std::optional<TrunkRow>> KvStore::trunk(std::string_view session) {
  return impl_->file->read_value<std::optional<TrunkRow>>(
      [&](Database& database) { return select_trunk(database, session); });
}

Result<std::vector<ChunkInfo>> KvStore::chunk_list(std::string_view session) {
  return impl_->file->read_value<std::vector<ChunkInfo>>(
      [&](Database& database) { return select_chunks(database, session); });
}

Result<std::optional<KvStore::TrunkAndChunks>> KvStore::trunk_and_chunks(std::string_view session) {
  return impl_->file->read_value<std::optional<TrunkAndChunks>>(
      [&](Database& database) -> Result<std::optional<TrunkAndChunks>> {
        RECALLD_ASSIGN_OR_RETURN(std::optional<TrunkRow> trunk, select_trunk(database, session));
        if (!trunk) return std::optional<TrunkAndChunks>();
        RECALLD_ASSIGN_OR_RETURN(std::vector<ChunkInfo> chunks, select_chunks(database, session));
        return std::optional(TrunkAndChunks{*std::move(trunk), std::move(chunks)});
      });
}

Result<std::optional<StoredEpisodes>> KvStore::episodes(std::string_view session) {
  return impl_->file->read_value<std::optional<StoredEpisodes>>(
      [&](Database& database) { return select_episodes(database, session); });
}

Result<std::optional<EpisodeSummary>> KvStore::episode_summary(std::string_view session) {
  return impl_->file->read_value<std::optional<EpisodeSummary>>(
      [&](Database& database) { return select_episode_summary(database, session); });
}

Result<AlignedBuffer> KvStore::load_chunk(std::string_view session, int32_t idx) {
  return impl_->file->read_value<AlignedBuffer>([&](Database& database) { return read_chunk(database, session, idx); });
}

Status KvStore::drop_trunk(std::string_view session) {
  for (bool more = true; more;) {
    RECALLD_RETURN_IF_ERROR(impl_->file->write(0, [&](Database& database) -> Status {
      RECALLD_ASSIGN_OR_RETURN(more, delete_some(database, session, kRemoveBytes));
      return ok_status();
    }));
  }
  return ok_status();
}

Status KvStore::remove_session(std::string_view session) {
  const std::lock_guard alone(impl_->maintenance);
  RECALLD_RETURN_IF_ERROR(
      impl_->file->write(0, [](Database& database) { return put_setting(database, kScrubKey, "1"); }));
  RECALLD_RETURN_IF_ERROR(drop_trunk(session));
  return finish_removals();
}

Status KvStore::finish_removals() {
  return impl_->file->maintain([](Database& database) -> Status {
    RECALLD_ASSIGN_OR_RETURN(const std::optional<std::string> due, get_setting(database, kScrubKey));
    if (!due) return ok_status();
    RECALLD_ASSIGN_OR_RETURN(Transaction transaction, Transaction::begin(database, Transaction::Mode::kWrite));
    RECALLD_RETURN_IF_ERROR(rewrite_tables(database));
    RECALLD_RETURN_IF_ERROR(transaction.commit());
    RECALLD_RETURN_IF_ERROR(database.checkpoint_truncate());
    return erase_setting(database, kScrubKey);
  });
}

Result<StoredBytes> KvStore::bytes(std::string_view session) {
  return impl_->file->read_value<StoredBytes>([&](Database& database) { return stored_bytes(database, session); });
}

Result<std::vector<std::string>> KvStore::sessions() {
  return impl_->file->read_value<std::vector<std::string>>(select_sessions);
}

Result<std::vector<std::string>> KvStore::check() {
  const std::lock_guard alone(impl_->maintenance);
  RECALLD_ASSIGN_OR_RETURN(std::vector<std::string> problems,
                           impl_->file->read_value<std::vector<std::string>>(integrity_problems));
  const Result<std::vector<std::string>> names = sessions();
  if (!names.ok()) {
    if (names.status().code() != StatusCode::kCorrupt) return names.status();
    problems.push_back(names.status().message());
    return problems;
  }
  for (const std::string& session : *names) {
    const Status grouped = episodes(session).status();
    if (!grouped.ok()) problems.push_back(grouped.message());
    const Result<std::vector<ChunkInfo>> chunks = chunk_list(session);
    if (!chunks.ok()) {
      problems.push_back(chunks.status().message());
      continue;
    }
    for (const ChunkInfo& chunk : *chunks) {
      const Status loaded = load_chunk(session, chunk.idx).status();
      // A chunk that is gone by now was replaced or removed meanwhile.
      if (!loaded.ok() && loaded.code() != StatusCode::kNotFound) problems.push_back(loaded.message());
    }
  }
  return problems;
}

Result<std::string> KvStore::start_over() {
  const std::lock_guard alone(impl_->maintenance);
  std::string name;
  RECALLD_RETURN_IF_ERROR(impl_->file->reopen([&]() -> Status {
    RECALLD_ASSIGN_OR_RETURN(name, set_aside(impl_->file->path()));
    return ok_status();
  }));
  return impl_->file->path() + " was set aside as " + name + " and a new one was made";
}

Status KvStore::write_state() const { return impl_->file->write_state(); }

Status KvStore::set_max_bytes(int64_t max_bytes) { return impl_->file->set_max_bytes(max_bytes); }

int64_t KvStore::file_bytes() const { return impl_->file->file_bytes(); }

Status KvStore::probe() { return impl_->file->write(0, write_probe); }

}  // namespace recalld::storage
