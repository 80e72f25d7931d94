// The SQL of kv.db: functions on a connection, inside the caller's transaction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "storage/database.h"
#include "storage/rows.h"

namespace recalld::storage {

// Of kv.db, in bytes. Each chunk takes a page more than its bytes, and half a page on average.
inline constexpr int32_t kKvPageSize = 1024;

// A digest as two little-endian words, and back; none for another length.
std::array<std::byte, 16> digest_bytes(const Digest128& digest);
std::optional<Digest128> digest_from(std::span<const std::byte> bytes);

Status upsert_trunk(Database& database, std::string_view session, const TrunkRow& trunk, int64_t now_ms);
Result<std::optional<TrunkRow>> select_trunk(Database& database, std::string_view session);

// Deletes the chunks with idx >= keep_below and all kTail chunks, with their payloads.
Status delete_replaced(Database& database, std::string_view session, int32_t keep_below);
// kInvalidArgument when the index is taken.
Status insert_chunk(Database& database, std::string_view session, const NewChunk& chunk, uint64_t checksum);

Result<std::vector<ChunkInfo>> select_chunks(Database& database, std::string_view session);
// Errors as KvStore::load_chunk.
Result<AlignedBuffer> read_chunk(Database& database, std::string_view session, int32_t idx);

// Deletes the trunk, the segments and episodes, and the newest chunks, about max_bytes of them. True when chunks are
// left.
Result<bool> delete_some(Database& database, std::string_view session, int64_t max_bytes);

// Writes the small tables anew onto zeroed pages: nothing of deleted rows is left in them.
Status rewrite_tables(Database& database);

// What the session takes of the file. Pages that rows share are counted by the rows' bytes.
Result<StoredBytes> stored_bytes(Database& database, std::string_view session);

// Sessions with a trunk or chunks, sorted.
Result<std::vector<std::string>> select_sessions(Database& database);

}  // namespace recalld::storage
