// What the stores keep, as plain structs. Text is UTF-8; times are Unix milliseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace recalld::storage {

// --- memory.db -------------------------------------------------------------

struct SessionRow {
  std::string id;         // made by the caller, unique over all principals
  std::string principal;  // who owns it
  std::string title;
  std::string style;       // how turns are written for the model; opaque here
  int64_t created_ms = 0;  // set by the store
  int64_t updated_ms = 0;  // set by the store: creation or the newest append
  int64_t turns = 0;       // set by the store on reading
};

struct TurnRow {
  int64_t idx = 0;  // set by the store: 0, 1, 2, ... without gaps in each session
  std::string role;
  std::string speaker;             // may be empty
  std::string text;                // may be empty
  std::optional<int64_t> time_ms;  // when it was said; none = unknown
  int64_t created_ms = 0;          // set by the store: when it was written down
};

struct ImportOutcome {
  int64_t first_turn = 0;
  int64_t turns = 0;
  bool duplicate = false;  // this digest was imported into this session before: nothing was added
};

// --- kv.db -----------------------------------------------------------------

// The state of a session's one stream of kept KV entries.
struct TrunkRow {
  Digest128 fingerprint;         // what the entries were made with
  int64_t n_tokens = 0;          // of the stream, so far
  int64_t n_turns = 0;           // transcript turns it covers
  std::vector<std::byte> state;  // the writer's own bookkeeping; opaque here
  int64_t updated_ms = 0;        // set by the store
};

enum class ChunkKind : int32_t {
  kPages = 0,  // frozen pages: never changed once written
  kTail = 1,   // the newest rows: replaced as a whole by every put_trunk
};

// A chunk without its payload.
struct ChunkInfo {
  int32_t idx = 0;
  ChunkKind kind = ChunkKind::kPages;
  int64_t token_first = 0;  // index in the stream of the first token
  int32_t n_tokens = 0;
  int64_t n_bytes = 0;         // of the payload
  uint64_t checksum = 0;       // checksum64 of the payload
  int64_t resident_bytes = 0;  // as NewChunk's
};

// A chunk to be written. The payload is shared with whoever made it and must not change until the write is done.
struct NewChunk {
  int32_t idx = 0;
  ChunkKind kind = ChunkKind::kPages;
  int64_t token_first = 0;
  int32_t n_tokens = 0;
  std::span<const std::byte> payload;  // at most kMaxChunkBytes
  std::shared_ptr<const void> owner;   // keeps the payload alive; may be null when the caller waits for the write
  int64_t resident_bytes = 0;          // what the payload becomes in the writer's memory; for reports
};

// A segment of a session's stream: some consecutive turns, embedded as one. Its text is in the transcript.
struct SegmentRow {
  int64_t first_turn = 0;
  int32_t n_turns = 0;
  int64_t token_first = 0;  // index in the stream of the first token
  int32_t n_tokens = 0;
  std::optional<int64_t> first_ms, last_ms;
  std::vector<std::byte> embedding;  // opaque here
};

// A group of segments.
struct EpisodeRow {
  int32_t id = 0;
  std::string title;
  std::optional<int64_t> first_ms, last_ms;
  std::vector<int32_t> segments;  // indices
};

// What the grouping of a session has besides its segments and episodes.
struct EpisodeMapRow {
  Digest128 encoder;             // what the embeddings were made with
  std::vector<std::byte> state;  // the writer's own bookkeeping; opaque here
};

// A change of a session's segments and episodes.
struct EpisodeUpdate {
  EpisodeMapRow map;  // replaces the one before
  // Segments with an index from here on are deleted; the new ones get the indices keep_segments, keep_segments + 1, ...
  // 0 replaces all there is, episodes included.
  int32_t keep_segments = 0;
  std::vector<SegmentRow> segments;
  std::vector<EpisodeRow> episodes;  // inserted, or replaced by id
  std::vector<int32_t> gone;         // ids of episodes to be deleted
};

struct StoredEpisodes {
  EpisodeMapRow map;
  std::vector<SegmentRow> segments;  // segments[i] has index i
  std::vector<EpisodeRow> episodes;  // by id
};

// What is stored of a session's segments and episodes, but for the embeddings.
struct EpisodeSummary {
  Digest128 encoder;
  std::vector<SegmentRow> segments;  // embedding empty
  std::vector<EpisodeRow> episodes;  // by id
};

// What is stored of a session in kv.db.
struct StoredBytes {
  int64_t file = 0;      // of the file: rows, and the pages that are theirs alone
  int64_t resident = 0;  // of its chunks in their writer's memory
};

inline constexpr int64_t kMaxChunkBytes = int64_t{512} << 20;

}  // namespace recalld::storage
