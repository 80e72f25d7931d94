// What a block sees of the past while it is read.
//
//   recent    the pinned tokens and the newest pages, view_tokens in all
//   whole     every page while the window has room for them, then the pinned and the newest that it has room for
//   sinks     the pinned tokens alone: what is read knows nothing of the past, and costs no attention to it
//   composed  the pinned tokens, the earlier segments most related to what comes, by time, and the newest
//             recent_tokens: view_tokens in all. Which segments are related a SegmentRanker says
//
// A block is at least block_tokens long and its tokens see each other; with block_tokens = 16 every segment is a block
// of its own.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "retrieval/compose.h"

namespace recalld::episodes {

enum class ReadingPolicy { kRecent, kWhole, kSinks, kComposed };

// "recent", "whole", "sinks" or "composed"; nothing for any other text.
std::optional<ReadingPolicy> parse_reading_policy(std::string_view name);
std::string_view reading_policy_name(ReadingPolicy policy);

// A block about to be read.
struct BlockStart {
  int64_t token = 0;       // its first
  int32_t n_segments = 0;  // before it, all of them in pages: what a ranker chooses from
};

// Indices of earlier segments, the most related first; as many as it likes, they are taken while the view has room. The
// same transcript must give the same answer at the same place, so it may use what lies before the block, not what has
// happened to arrive after it.
using SegmentRanker = std::function<Result<std::vector<int32_t>>(const BlockStart& block)>;

// How much a view may hold, in tokens.
struct ReadingLimits {
  int64_t view = 0;    // recent and composed
  int64_t whole = 0;   // whole
  int64_t recent = 0;  // the newest tokens in a composed view
};

// Indices of `groups`, all in pages and before the block, for the block's view, in view order. ranker is asked by
// kComposed alone; kFailedPrecondition when it is missing then.
Result<std::vector<size_t>> groups_to_read_with(ReadingPolicy policy, std::span<const retrieval::PageGroup> groups,
                                                const BlockStart& block, const ReadingLimits& limits,
                                                const SegmentRanker& ranker);

}  // namespace recalld::episodes
