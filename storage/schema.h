// Which tables a file has, as numbered steps, and how a file is brought from any earlier version to ours.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "base/status.h"
#include "storage/database.h"

namespace recalld::storage {

// steps[i] is SQL that takes a file from version i to i + 1; a released step is never changed. The version of a file is
// its user_version; version 0 is an empty file.
struct Schema {
  int32_t application_id = 0;
  std::span<const char* const> steps;

  int64_t version() const { return static_cast<int64_t>(steps.size()); }
};

// Refuses what is not ours, changing nothing: kCorrupt when the file is no database or has another application_id or
// tables without one; kFailedPrecondition when its version is newer than ours. Returns the version of the file.
Result<int64_t> inspect(Database& database, const Schema& schema);

// Takes the file to schema.version(), each step in a transaction of its own, an empty file in one; a failed step leaves
// the version before it. before_upgrade (may be null) is called once, before the first step on a file that has version
// >= 1.
Status migrate(Database& database, const Schema& schema, const std::function<Status(int64_t from)>& before_upgrade);

extern const Schema kMemorySchema;
extern const Schema kKvSchema;

}  // namespace recalld::storage
