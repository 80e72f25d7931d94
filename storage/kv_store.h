// kv.db, rebuildable: the KV entries of each session as chunks of opaque bytes, its segments and episodes. Losing this
// file costs time, never an answer. See docs/storage.md for the file.
//
// A put_trunk is one transaction: after a crash either all of it is there or nothing of it, and never a part of a
// chunk. Commits are not fsynced one by one (WAL, synchronous=NORMAL): they survive kill -9; a power cut may take the
// newest ones. Changes run on the one writer thread of Stores, in the order they were asked for, behind waiting writes
// to memory.db; reads run on the caller's thread. All functions are safe from any thread.
//
// Errors, besides those named at each function: kStorageFull when the disk is full or read-only (reads still work),
// kCorrupt when the file is damaged (start_over() is the remedy), kUnavailable as in memory_store.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "storage/options.h"
#include "storage/rows.h"

namespace recalld::storage {

class Writer;

class KvStore {
 public:
  ~KvStore();
  KvStore(const KvStore&) = delete;
  KvStore& operator=(const KvStore&) = delete;

  // In one transaction: replaces the trunk row; deletes the session's chunks with idx >= keep_below_idx and all its
  // kTail chunks; inserts new_chunks, whose idx must be distinct and not taken by a chunk that stays
  // (kInvalidArgument). kNotFound when memory.db has no such session (it was removed meanwhile): nothing is written.
  // With `episodes`, they change in the same transaction; without, segments and episodes stay as they are.
  // Returns when committed.
  Status put_trunk(std::string_view session, TrunkRow trunk, std::vector<NewChunk> new_chunks, int32_t keep_below_idx,
                   std::optional<EpisodeUpdate> episodes = std::nullopt);

  // The same without waiting: `done` (may be null) is called with the outcome from the writer thread and must return at
  // once; it is called exactly once, with kUnavailable when the stores close first. Blocks only while the queue is
  // full. Every NewChunk needs an owner.
  void put_trunk_async(std::string_view session, TrunkRow trunk, std::vector<NewChunk> new_chunks,
                       int32_t keep_below_idx, std::function<void(const Status&)> done,
                       std::optional<EpisodeUpdate> episodes = std::nullopt);

  // None when nothing is stored for the session.
  Result<std::optional<TrunkRow>> trunk(std::string_view session);

  // All chunks of the session by idx, without payloads; cheap.
  Result<std::vector<ChunkInfo>> chunk_list(std::string_view session);

  // Both of one moment: a trunk and the chunks that belong to it.
  struct TrunkAndChunks {
    TrunkRow trunk;
    std::vector<ChunkInfo> chunks;
  };
  Result<std::optional<TrunkAndChunks>> trunk_and_chunks(std::string_view session);

  // Segments and episodes of one moment; none when none were put. kCorrupt, naming the session, when rows are not those
  // that were written. Reads all embeddings.
  Result<std::optional<StoredEpisodes>> episodes(std::string_view session);

  // The same without embeddings, which are most of the bytes; so a segment's checksum is not verified. For reports.
  Result<std::optional<EpisodeSummary>> episode_summary(std::string_view session);

  // The payload, 64-byte aligned, its checksum verified. kNotFound when there is no such chunk; kCorrupt, naming
  // session and chunk, when the bytes are not those that were written.
  Result<AlignedBuffer> load_chunk(std::string_view session, int32_t idx);

  // Forgets the trunk, all chunks, segments and episodes of a session, in several transactions when the chunks are
  // many: all but the chunks in the first. ok when there is nothing. The file keeps its size; what is freed is reused.
  // Cost: as writing the same bytes.
  Status drop_trunk(std::string_view session);

  // drop_trunk that leaves nothing of the session in kv.db or its WAL, chunks dropped earlier included.
  Status remove_session(std::string_view session);

  // What is stored for a session: payloads, embeddings, and what episodes hold. Zeros when there is nothing.
  Result<StoredBytes> bytes(std::string_view session);

  // Sessions that have a trunk or chunks, sorted.
  Result<std::vector<std::string>> sessions();

  // Integrity of the file, and of every chunk, segment and episode against its checksum; one sentence for each problem.
  // Reads everything.
  Result<std::vector<std::string>> check();

  // Sets the file aside as kv.db.corrupt-N and goes on with an empty one; for a daemon that met kCorrupt from any
  // function but load_chunk and episodes. Returns a sentence for the log that names the file.
  Result<std::string> start_over();

  // ok, or why the last write failed. Goes back to ok when a write succeeds, except after a failed fsync.
  Status write_state() const;

  // Bounds the size of the file, in bytes; a put that needs more fails with kStorageFull. 0 = no bound.
  Status set_max_bytes(int64_t max_bytes);

  // Bytes of the database file and its WAL.
  int64_t file_bytes() const;

 private:
  friend class Stores;
  struct Impl;
  using SessionExists = std::function<Result<bool>(std::string_view session)>;

  // Opens <directory>/kv.db, setting a damaged one aside. session_exists is called on the writer thread. Adds to notes.
  static Result<std::unique_ptr<KvStore>> open(const std::string& directory, const Clock& clock,
                                               const StoreOptions& options, Writer& writer,
                                               SessionExists session_exists, std::vector<std::string>& notes);
  // Finishes what a removal cut short has left to do.
  Status finish_removals();
  Status probe();

  explicit KvStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::storage
