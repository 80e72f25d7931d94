// An episode map as rows of kv.db, and back.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "episodes/episode_map.h"
#include "storage/rows.h"

namespace recalld::episodes {

// What to put for map.unsaved(); call map.mark_saved() once it is stored. encoder: the fingerprint of what made the
// vectors. The first update of a map that was not restored replaces whatever is stored for the session.
// details: what else is stored with each new segment's vector, opaque here; one for each segment from
// map.unsaved().first_segment on, or none at all.
storage::EpisodeUpdate episode_update(const EpisodeMap& map, const Digest128& encoder,
                                      std::span<const std::vector<std::byte>> details = {});

// What was stored with the vector of a segment; empty when the row is shorter than a vector of dim numbers.
std::span<const std::byte> stored_details(const storage::SegmentRow& row, int32_t dim);

// The map that was stored, bit for bit: growing it further gives what growing it without a restart would have given.
// texts: of the stored segments, in their order, from the transcript (the map keeps their words for titles).
//   kFailedPrecondition  the vectors are another encoder's: embed the texts anew and build a new map
//   kCorrupt             the rows do not fit together or with the texts
Result<EpisodeMap> restore_episodes(const EpisodeOptions& options, const Digest128& encoder, int32_t dim,
                                    const storage::StoredEpisodes& stored, std::span<const std::string> texts);

}  // namespace recalld::episodes
