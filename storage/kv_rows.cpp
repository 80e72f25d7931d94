#include "storage/kv_rows.h"

#include <bit>
#include <cstring>

#include "storage/episode_rows.h"

namespace recalld::storage {

namespace {

// As many zeros as a page has: at least what a row may keep inside a tree page (docs/storage.md).
const std::string kInsertPayload =
    "INSERT INTO payloads(pad, bytes) VALUES(zeroblob(" + std::to_string(kKvPageSize) + "), ?)";

// What a row of `content` bytes takes of the file: what it keeps inside its tree page, and its overflow pages, whole.
// fileformat2 section 1.6: U = page size, X = U - 35 for tables with rowids, (U - 12) * 64 / 255 - 23 without.
int64_t row_bytes(int64_t content, bool rowid) {
  constexpr int64_t kUsable = kKvPageSize, kCell = 12, kOverflow = kUsable - 4;
  const int64_t most = rowid ? kUsable - 35 : (kUsable - 12) * 64 / 255 - 23;
  const int64_t least = (kUsable - 12) * 32 / 255 - 23;
  if (content <= most) return kCell + content;
  const int64_t wanted = least + (content - least) % kOverflow;
  const int64_t local = wanted <= most ? wanted : least;
  return kCell + local + (content - local + kOverflow - 1) / kOverflow * kUsable;
}

std::string chunk_name(std::string_view session, int64_t idx) {
  return "chunk " + std::to_string(idx) + " of session " + std::string(session);
}

Status delete_payloads(Database& database, const std::vector<int64_t>& ids) {
  RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE FROM payloads WHERE id = ?"));
  for (const int64_t id : ids) RECALLD_RETURN_IF_ERROR(erase.bind(1, id).run());
  return ok_status();
}

}  // namespace

std::array<std::byte, 16> digest_bytes(const Digest128& digest) {
  std::array<std::byte, 16> bytes;
  std::memcpy(bytes.data(), &digest.low, 8);
  std::memcpy(bytes.data() + 8, &digest.high, 8);
  return bytes;
}

std::optional<Digest128> digest_from(std::span<const std::byte> bytes) {
  if (bytes.size() != 16) return std::nullopt;
  Digest128 digest;
  std::memcpy(&digest.low, bytes.data(), 8);
  std::memcpy(&digest.high, bytes.data() + 8, 8);
  return digest;
}

Status upsert_trunk(Database& database, std::string_view session, const TrunkRow& trunk, int64_t now_ms) {
  const std::array<std::byte, 16> fingerprint = digest_bytes(trunk.fingerprint);
  RECALLD_ASSIGN_OR_RETURN(
      Statement put,
      database.prepare("INSERT INTO trunks(session, fingerprint, n_tokens, n_turns, state, updated_ms)"
                       " VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(session) DO UPDATE SET"
                       " fingerprint = excluded.fingerprint, n_tokens = excluded.n_tokens, n_turns = excluded.n_turns,"
                       " state = excluded.state, updated_ms = excluded.updated_ms"));
  put.bind(1, session).bind(2, std::span<const std::byte>(fingerprint)).bind(3, trunk.n_tokens).bind(4, trunk.n_turns);
  return put.bind(5, std::span<const std::byte>(trunk.state)).bind(6, now_ms).run();
}

Result<std::optional<TrunkRow>> select_trunk(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(
      Statement get,
      database.prepare("SELECT fingerprint, n_tokens, n_turns, state, updated_ms FROM trunks WHERE session = ?"));
  RECALLD_ASSIGN_OR_RETURN(const bool found, get.bind(1, session).step());
  if (!found) return std::optional<TrunkRow>();
  const std::optional<Digest128> fingerprint = digest_from(get.column_bytes(0));
  if (!fingerprint) {
    return corrupt(database.path() + ": the fingerprint of session " + std::string(session) + " is damaged");
  }
  TrunkRow trunk;
  trunk.fingerprint = *fingerprint;
  trunk.n_tokens = get.column_int(1);
  trunk.n_turns = get.column_int(2);
  const std::span<const std::byte> state = get.column_bytes(3);
  trunk.state.assign(state.begin(), state.end());
  trunk.updated_ms = get.column_int(4);
  return std::optional(std::move(trunk));
}

Status delete_replaced(Database& database, std::string_view session, int32_t keep_below) {
  constexpr std::string_view kWhere = " FROM chunks WHERE session = ? AND (idx >= ? OR kind = 1)";
  std::vector<int64_t> payloads;
  {
    RECALLD_ASSIGN_OR_RETURN(Statement find, database.prepare("SELECT payload" + std::string(kWhere)));
    find.bind(1, session).bind(2, keep_below);
    while (true) {
      RECALLD_ASSIGN_OR_RETURN(const bool row, find.step());
      if (!row) break;
      payloads.push_back(find.column_int(0));
    }
  }
  RECALLD_RETURN_IF_ERROR(delete_payloads(database, payloads));
  RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE" + std::string(kWhere)));
  return erase.bind(1, session).bind(2, keep_below).run();
}

Status insert_chunk(Database& database, std::string_view session, const NewChunk& chunk, uint64_t checksum) {
  RECALLD_ASSIGN_OR_RETURN(Statement taken, database.prepare("SELECT 1 FROM chunks WHERE session = ? AND idx = ?"));
  RECALLD_ASSIGN_OR_RETURN(const bool exists, taken.bind(1, session).bind(2, chunk.idx).step());
  if (exists) return invalid_argument(chunk_name(session, chunk.idx) + " is there already; keep_below_idx is too high");

  RECALLD_ASSIGN_OR_RETURN(Statement payload, database.prepare(kInsertPayload));
  RECALLD_RETURN_IF_ERROR(payload.bind(1, chunk.payload).run());
  const int64_t payload_id = database.last_insert_rowid();
  RECALLD_ASSIGN_OR_RETURN(
      Statement insert,
      database.prepare("INSERT INTO chunks(session, idx, kind, token_first, n_tokens, n_bytes, checksum, payload,"
                       " resident_bytes) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.bind(1, session).bind(2, chunk.idx).bind(3, static_cast<int64_t>(chunk.kind)).bind(4, chunk.token_first);
  insert.bind(5, chunk.n_tokens).bind(6, static_cast<int64_t>(chunk.payload.size()));
  insert.bind(7, std::bit_cast<int64_t>(checksum)).bind(8, payload_id).bind(9, chunk.resident_bytes);
  return insert.run();
}

Result<std::vector<ChunkInfo>> select_chunks(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(Statement get,
                           database.prepare("SELECT idx, kind, token_first, n_tokens, n_bytes, checksum, resident_bytes"
                                            " FROM chunks WHERE session = ? ORDER BY idx"));
  get.bind(1, session);
  std::vector<ChunkInfo> chunks;
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool row, get.step());
    if (!row) return chunks;
    chunks.push_back({static_cast<int32_t>(get.column_int(0)), static_cast<ChunkKind>(get.column_int(1)),
                      get.column_int(2), static_cast<int32_t>(get.column_int(3)), get.column_int(4),
                      std::bit_cast<uint64_t>(get.column_int(5)), get.column_int(6)});
  }
}

Result<AlignedBuffer> read_chunk(Database& database, std::string_view session, int32_t idx) {
  RECALLD_ASSIGN_OR_RETURN(
      Statement get, database.prepare("SELECT n_bytes, checksum, payload FROM chunks WHERE session = ? AND idx = ?"));
  RECALLD_ASSIGN_OR_RETURN(const bool found, get.bind(1, session).bind(2, idx).step());
  if (!found) return not_found("there is no " + chunk_name(session, idx));
  const int64_t n_bytes = get.column_int(0);
  if (n_bytes < 0 || n_bytes > kMaxChunkBytes) {
    return corrupt(database.path() + ": " + chunk_name(session, idx) + " claims " + std::to_string(n_bytes) + " bytes");
  }
  AlignedBuffer buffer(static_cast<size_t>(n_bytes));
  const Status read = database.read_blob("payloads", "bytes", get.column_int(2), buffer.span());
  if (!read.ok()) return read.with_context(chunk_name(session, idx));
  if (checksum64(buffer.span()) != std::bit_cast<uint64_t>(get.column_int(1))) {
    return corrupt(database.path() + ": " + chunk_name(session, idx) + " fails its checksum");
  }
  return buffer;
}

Result<bool> delete_some(Database& database, std::string_view session, int64_t max_bytes) {
  RECALLD_ASSIGN_OR_RETURN(Statement trunk, database.prepare("DELETE FROM trunks WHERE session = ?"));
  RECALLD_RETURN_IF_ERROR(trunk.bind(1, session).run());
  RECALLD_RETURN_IF_ERROR(delete_episodes(database, session));
  std::vector<int64_t> payloads;
  int64_t first = 0;
  int64_t bytes = 0;
  bool more = false;
  {
    RECALLD_ASSIGN_OR_RETURN(Statement find,
                             database.prepare("SELECT idx, n_bytes, payload FROM chunks WHERE session = ?"
                                              " ORDER BY idx DESC"));
    find.bind(1, session);
    while (true) {
      RECALLD_ASSIGN_OR_RETURN(const bool row, find.step());
      if (!row) break;
      more = bytes >= max_bytes;
      if (more) break;
      first = find.column_int(0);
      bytes += find.column_int(1);
      payloads.push_back(find.column_int(2));
    }
  }
  if (payloads.empty()) return false;
  RECALLD_RETURN_IF_ERROR(delete_payloads(database, payloads));
  RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE FROM chunks WHERE session = ? AND idx >= ?"));
  RECALLD_RETURN_IF_ERROR(erase.bind(1, session).bind(2, first).run());
  return more;
}

Status rewrite_tables(Database& database) {
  struct Table {
    const char* name;
    const char* key;
  };
  constexpr Table kSmall[] = {{"trunks", "session"},
                              {"chunks", "session, idx"},
                              {"episode_maps", "session"},
                              {"segments", "session, idx"},
                              {"episodes", "session, id"}};
  for (const Table& table : kSmall) {
    const std::string name = table.name;
    // DELETE without WHERE frees and zeroes whole pages, whatever stale bytes they hold.
    RECALLD_RETURN_IF_ERROR(database.exec("CREATE TEMP TABLE kept AS SELECT * FROM main." + name +
                                          "; DELETE FROM main." + name + "; INSERT INTO main." + name +
                                          " SELECT * FROM temp.kept ORDER BY " + table.key + "; DROP TABLE temp.kept"));
  }
  return ok_status();
}

Result<StoredBytes> stored_bytes(Database& database, std::string_view session) {
  StoredBytes bytes;
  // Key and numbers of a row; each number by the bytes it takes, about.
  const int64_t key = static_cast<int64_t>(session.size()) + 8;
  constexpr int64_t kNumbers = 24;
  const auto add = [&](const std::string& sql, bool rowid, int64_t fixed) -> Status {
    RECALLD_ASSIGN_OR_RETURN(Statement get, database.prepare(sql));
    get.bind(1, session);
    while (true) {
      RECALLD_ASSIGN_OR_RETURN(const bool row, get.step());
      if (!row) return ok_status();
      bytes.file += row_bytes(get.column_int(0) + fixed, rowid);
      bytes.resident += get.column_int(1);
    }
  };
  const auto sizes = [](const char* content, const char* table) {
    return std::string("SELECT ") + content + ", 0 FROM " + table + " WHERE session = ?";
  };
  RECALLD_RETURN_IF_ERROR(add("SELECT n_bytes, resident_bytes FROM chunks WHERE session = ?", true, kKvPageSize + 12));
  RECALLD_RETURN_IF_ERROR(add(sizes("0", "chunks"), false, key + kNumbers));
  RECALLD_RETURN_IF_ERROR(add(sizes("length(state)", "trunks"), false, key + kNumbers + 16));
  RECALLD_RETURN_IF_ERROR(add(sizes("length(state)", "episode_maps"), false, key + 16));
  RECALLD_RETURN_IF_ERROR(add(sizes("length(embedding)", "segments"), false, key + kNumbers));
  RECALLD_RETURN_IF_ERROR(
      add(sizes("length(CAST(title AS BLOB)) + length(segments)", "episodes"), false, key + kNumbers));
  return bytes;
}

Result<std::vector<std::string>> select_sessions(Database& database) {
  RECALLD_ASSIGN_OR_RETURN(
      Statement get, database.prepare("SELECT session FROM trunks UNION SELECT session FROM chunks ORDER BY session"));
  std::vector<std::string> sessions;
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool row, get.step());
    if (!row) return sessions;
    sessions.push_back(get.column_text(0));
  }
}

}  // namespace recalld::storage
