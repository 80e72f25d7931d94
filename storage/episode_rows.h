// The SQL of segments and episodes in kv.db: functions on a connection, inside the caller's transaction.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "storage/database.h"
#include "storage/rows.h"

namespace recalld::storage {

// kInvalidArgument when an update can fit no session: negative indices or ids, an id named twice.
Status check_episodes(const EpisodeUpdate& update);

// kInvalidArgument when there are fewer than update.keep_segments segments to keep.
Status update_episodes(Database& database, std::string_view session, const EpisodeUpdate& update);

// None when nothing is stored. kCorrupt, naming the session, when rows are not those that were written.
Result<std::optional<StoredEpisodes>> select_episodes(Database& database, std::string_view session);

// The same without embeddings and without the checksums that cover them.
Result<std::optional<EpisodeSummary>> select_episode_summary(Database& database, std::string_view session);

Status delete_episodes(Database& database, std::string_view session);

}  // namespace recalld::storage
