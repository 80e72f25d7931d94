#include "storage/schema.h"

namespace recalld::storage {

namespace {

// turns has a key that only grows, so that rows are appended and never moved by an insertion.
constexpr const char* kSteps[] = {
    R"sql(
CREATE TABLE sessions(
  id TEXT PRIMARY KEY NOT NULL,
  principal TEXT NOT NULL,
  title TEXT NOT NULL,
  style TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_principal ON sessions(principal);

CREATE TABLE turns(
  id INTEGER PRIMARY KEY,
  session TEXT NOT NULL REFERENCES sessions(id),
  idx INTEGER NOT NULL CHECK(idx >= 0),
  role TEXT NOT NULL,
  speaker TEXT NOT NULL,
  text TEXT NOT NULL,
  time_ms INTEGER,
  created_ms INTEGER NOT NULL,
  UNIQUE(session, idx)
) STRICT;

CREATE TABLE imports(
  session TEXT NOT NULL REFERENCES sessions(id),
  digest TEXT NOT NULL,
  first_turn INTEGER NOT NULL,
  turns INTEGER NOT NULL,
  PRIMARY KEY(session, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE settings(
  key TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql",
};

}  // namespace

const Schema kMemorySchema{0x52434C4D, kSteps};  // "RCLM"

}  // namespace recalld::storage
