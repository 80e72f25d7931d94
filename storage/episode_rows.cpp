#include "storage/episode_rows.h"

#include <bit>
#include <cstring>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "storage/kv_rows.h"

namespace recalld::storage {

namespace {

// Rows without text lie beside each other in tree pages: a flipped bit would go unnoticed but for these.
class RowDigest {
 public:
  RowDigest& add(int64_t value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof value);
    return *this;
  }
  RowDigest& add(std::optional<int64_t> value) { return add(value.has_value() ? 1 : 0).add(value.value_or(0)); }
  RowDigest& add(std::span<const std::byte> bytes) {
    add(static_cast<int64_t>(bytes.size()));
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  int64_t finish() const { return std::bit_cast<int64_t>(checksum64(bytes_)); }

 private:
  std::vector<std::byte> bytes_;
};

int64_t checksum_of(int64_t idx, const SegmentRow& row) {
  RowDigest digest;
  digest.add(idx).add(row.first_turn).add(int64_t{row.n_turns}).add(row.token_first).add(int64_t{row.n_tokens});
  return digest.add(row.first_ms).add(row.last_ms).add(std::span<const std::byte>(row.embedding)).finish();
}

int64_t checksum_of(const EpisodeRow& row) {
  RowDigest digest;
  digest.add(int64_t{row.id}).add(std::as_bytes(std::span(row.title))).add(row.first_ms).add(row.last_ms);
  return digest.add(std::as_bytes(std::span(row.segments))).finish();
}

Status damaged(const Database& database, std::string_view session, const std::string& what) {
  return corrupt(database.path() + ": " + what + " of session " + std::string(session) + " fails its checksum");
}

Status run_for(Database& database, std::string_view sql, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(Statement statement, database.prepare(sql));
  return statement.bind(1, session).run();
}

Status insert_segments(Database& database, std::string_view session, const EpisodeUpdate& update) {
  RECALLD_ASSIGN_OR_RETURN(Statement insert,
                           database.prepare("INSERT INTO segments(session, idx, first_turn, n_turns, token_first,"
                                            " n_tokens, first_ms, last_ms, embedding, checksum)"
                                            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  int64_t idx = update.keep_segments;
  for (const SegmentRow& row : update.segments) {
    insert.bind(1, session).bind(2, idx).bind(3, row.first_turn).bind(4, row.n_turns).bind(5, row.token_first);
    insert.bind(6, row.n_tokens).bind(7, row.first_ms).bind(8, row.last_ms);
    insert.bind(9, std::span<const std::byte>(row.embedding)).bind(10, checksum_of(idx, row));
    RECALLD_RETURN_IF_ERROR(insert.run());
    ++idx;
  }
  return ok_status();
}

Status put_episodes(Database& database, std::string_view session, const EpisodeUpdate& update) {
  RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE FROM episodes WHERE session = ? AND id = ?"));
  for (const int32_t id : update.gone) RECALLD_RETURN_IF_ERROR(erase.bind(1, session).bind(2, id).run());
  RECALLD_ASSIGN_OR_RETURN(
      Statement put,
      database.prepare("INSERT INTO episodes(session, id, title, first_ms, last_ms, segments, checksum)"
                       " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(session, id) DO UPDATE SET title = excluded.title,"
                       " first_ms = excluded.first_ms, last_ms = excluded.last_ms, segments = excluded.segments,"
                       " checksum = excluded.checksum"));
  for (const EpisodeRow& row : update.episodes) {
    put.bind(1, session).bind(2, row.id).bind(3, row.title).bind(4, row.first_ms).bind(5, row.last_ms);
    put.bind(6, std::as_bytes(std::span(row.segments))).bind(7, checksum_of(row));
    RECALLD_RETURN_IF_ERROR(put.run());
  }
  return ok_status();
}

Result<std::optional<EpisodeMapRow>> read_map(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(Statement get,
                           database.prepare("SELECT encoder, state FROM episode_maps WHERE session = ?"));
  RECALLD_ASSIGN_OR_RETURN(const bool found, get.bind(1, session).step());
  if (!found) return std::optional<EpisodeMapRow>();
  const std::optional<Digest128> encoder = digest_from(get.column_bytes(0));
  if (!encoder) {
    return corrupt(database.path() + ": the encoder's fingerprint of session " + std::string(session) + " is damaged");
  }
  const std::span<const std::byte> state = get.column_bytes(1);
  return std::optional(EpisodeMapRow{*encoder, {state.begin(), state.end()}});
}

Status read_segments(Database& database, std::string_view session, std::vector<SegmentRow>& rows) {
  RECALLD_ASSIGN_OR_RETURN(Statement get,
                           database.prepare("SELECT idx, first_turn, n_turns, token_first, n_tokens, first_ms, last_ms,"
                                            " embedding, checksum FROM segments WHERE session = ? ORDER BY idx"));
  get.bind(1, session);
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool found, get.step());
    if (!found) return ok_status();
    SegmentRow row;
    row.first_turn = get.column_int(1);
    row.n_turns = static_cast<int32_t>(get.column_int(2));
    row.token_first = get.column_int(3);
    row.n_tokens = static_cast<int32_t>(get.column_int(4));
    row.first_ms = get.column_optional_int(5);
    row.last_ms = get.column_optional_int(6);
    const std::span<const std::byte> embedding = get.column_bytes(7);
    row.embedding.assign(embedding.begin(), embedding.end());
    const auto idx = static_cast<int64_t>(rows.size());
    if (get.column_int(0) != idx || get.column_int(8) != checksum_of(idx, row)) {
      return damaged(database, session, "segment " + std::to_string(idx));
    }
    rows.push_back(std::move(row));
  }
}

Status read_episodes(Database& database, std::string_view session, std::vector<EpisodeRow>& rows) {
  RECALLD_ASSIGN_OR_RETURN(Statement get, database.prepare("SELECT id, title, first_ms, last_ms, segments, checksum"
                                                           " FROM episodes WHERE session = ? ORDER BY id"));
  get.bind(1, session);
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool found, get.step());
    if (!found) return ok_status();
    EpisodeRow row;
    row.id = static_cast<int32_t>(get.column_int(0));
    row.title = get.column_text(1);
    row.first_ms = get.column_optional_int(2);
    row.last_ms = get.column_optional_int(3);
    const std::span<const std::byte> segments = get.column_bytes(4);
    row.segments.resize(segments.size() / sizeof(int32_t));
    if (!row.segments.empty()) {
      std::memcpy(row.segments.data(), segments.data(), row.segments.size() * sizeof(int32_t));
    }
    if (segments.size() % sizeof(int32_t) != 0 || get.column_int(5) != checksum_of(row)) {
      return damaged(database, session, "episode " + std::to_string(row.id));
    }
    rows.push_back(std::move(row));
  }
}

}  // namespace

Status check_episodes(const EpisodeUpdate& update) {
  if (update.keep_segments < 0) return invalid_argument("keep_segments is negative");
  std::set<int32_t> ids(update.gone.begin(), update.gone.end());
  size_t named = update.gone.size();
  for (const EpisodeRow& row : update.episodes) {
    ids.insert(row.id);
    ++named;
  }
  if (ids.size() != named) return invalid_argument("an episode is named twice in one update");
  if (!ids.empty() && *ids.begin() < 0) return invalid_argument("the id of an episode is negative");
  return ok_status();
}

Status update_episodes(Database& database, std::string_view session, const EpisodeUpdate& update) {
  if (update.keep_segments == 0) {
    RECALLD_RETURN_IF_ERROR(delete_episodes(database, session));
  } else {
    RECALLD_ASSIGN_OR_RETURN(Statement erase, database.prepare("DELETE FROM segments WHERE session = ? AND idx >= ?"));
    RECALLD_RETURN_IF_ERROR(erase.bind(1, session).bind(2, update.keep_segments).run());
    RECALLD_ASSIGN_OR_RETURN(Statement last, database.prepare("SELECT max(idx) FROM segments WHERE session = ?"));
    RECALLD_RETURN_IF_ERROR(last.bind(1, session).step().status());
    if (last.column_optional_int(0).value_or(-1) != update.keep_segments - 1) {
      return invalid_argument("session " + std::string(session) + " has fewer than the " +
                              std::to_string(update.keep_segments) + " segments that are to be kept");
    }
  }
  RECALLD_RETURN_IF_ERROR(insert_segments(database, session, update));
  RECALLD_RETURN_IF_ERROR(put_episodes(database, session, update));
  const std::array<std::byte, 16> encoder = digest_bytes(update.map.encoder);
  RECALLD_ASSIGN_OR_RETURN(Statement put,
                           database.prepare("INSERT INTO episode_maps(session, encoder, state) VALUES(?, ?, ?)"
                                            " ON CONFLICT(session) DO UPDATE SET encoder = excluded.encoder,"
                                            " state = excluded.state"));
  put.bind(1, session).bind(2, std::span<const std::byte>(encoder));
  return put.bind(3, std::span<const std::byte>(update.map.state)).run();
}

Result<std::optional<StoredEpisodes>> select_episodes(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(std::optional<EpisodeMapRow> map, read_map(database, session));
  if (!map) return std::optional<StoredEpisodes>();
  StoredEpisodes stored;
  stored.map = *std::move(map);
  RECALLD_RETURN_IF_ERROR(read_segments(database, session, stored.segments));
  RECALLD_RETURN_IF_ERROR(read_episodes(database, session, stored.episodes));
  return std::optional(std::move(stored));
}

Result<std::optional<EpisodeSummary>> select_episode_summary(Database& database, std::string_view session) {
  RECALLD_ASSIGN_OR_RETURN(const std::optional<EpisodeMapRow> map, read_map(database, session));
  if (!map) return std::optional<EpisodeSummary>();
  EpisodeSummary summary;
  summary.encoder = map->encoder;
  RECALLD_ASSIGN_OR_RETURN(Statement get,
                           database.prepare("SELECT first_turn, n_turns, token_first, n_tokens, first_ms, last_ms"
                                            " FROM segments WHERE session = ? ORDER BY idx"));
  get.bind(1, session);
  while (true) {
    RECALLD_ASSIGN_OR_RETURN(const bool found, get.step());
    if (!found) break;
    summary.segments.push_back({get.column_int(0),
                                static_cast<int32_t>(get.column_int(1)),
                                get.column_int(2),
                                static_cast<int32_t>(get.column_int(3)),
                                get.column_optional_int(4),
                                get.column_optional_int(5),
                                {}});
  }
  RECALLD_RETURN_IF_ERROR(read_episodes(database, session, summary.episodes));
  return std::optional(std::move(summary));
}

Status delete_episodes(Database& database, std::string_view session) {
  RECALLD_RETURN_IF_ERROR(run_for(database, "DELETE FROM segments WHERE session = ?", session));
  RECALLD_RETURN_IF_ERROR(run_for(database, "DELETE FROM episodes WHERE session = ?", session));
  return run_for(database, "DELETE FROM episode_maps WHERE session = ?", session);
}

}  // namespace recalld::storage
