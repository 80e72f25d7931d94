#include "storage/schema.h"

namespace recalld::storage {

namespace {

// Payloads have a table of their own, so that reading the list of chunks touches none of them. `pad` is one page of
// zeros: it fills what a row keeps inside the tree, so that payload bytes lie in overflow pages only. Those never move
// and are zeroed when freed, whereas SQLite leaves stale copies behind when it moves rows between tree pages.
constexpr const char* kSteps[] = {
    R"sql(
CREATE TABLE trunks(
  session TEXT PRIMARY KEY NOT NULL,
  fingerprint BLOB NOT NULL CHECK(length(fingerprint) = 16),
  n_tokens INTEGER NOT NULL,
  n_turns INTEGER NOT NULL,
  state BLOB NOT NULL,
  updated_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE chunks(
  session TEXT NOT NULL,
  idx INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  token_first INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL,
  n_bytes INTEGER NOT NULL,
  checksum INTEGER NOT NULL,
  payload INTEGER NOT NULL,
  PRIMARY KEY(session, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE payloads(
  id INTEGER PRIMARY KEY,
  pad BLOB NOT NULL,
  bytes BLOB NOT NULL
) STRICT;

CREATE TABLE settings(
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
CREATE TABLE episode_maps(
  session TEXT PRIMARY KEY NOT NULL,
  encoder BLOB NOT NULL CHECK(length(encoder) = 16),
  state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE segments(
  session TEXT NOT NULL,
  idx INTEGER NOT NULL,
  first_turn INTEGER NOT NULL,
  n_turns INTEGER NOT NULL,
  token_first INTEGER NOT NULL,
  n_tokens INTEGER NOT NULL,
  first_ms INTEGER,
  last_ms INTEGER,
  embedding BLOB NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY(session, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE episodes(
  session TEXT NOT NULL,
  id INTEGER NOT NULL,
  title TEXT NOT NULL,
  first_ms INTEGER,
  last_ms INTEGER,
  segments BLOB NOT NULL,
  checksum INTEGER NOT NULL,
  PRIMARY KEY(session, id)
) STRICT, WITHOUT ROWID;
)sql",
    // Files of version 2 have pages of 64 KiB and are not taken over.
    R"sql(
ALTER TABLE chunks ADD COLUMN resident_bytes INTEGER NOT NULL DEFAULT 0;
)sql",
};

}  // namespace

const Schema kKvSchema{0x52434C4B, kSteps};  // "RCLK"

}  // namespace recalld::storage
