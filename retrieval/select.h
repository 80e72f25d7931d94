// From a ranking to the segments of a view: the best ones that fit a token budget, whole, in the view's order.
//
// Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "retrieval/segment.h"
#include "retrieval/segment_index.h"

namespace recalld::retrieval {

enum class ViewOrder {
  kByTime,    // as they were said
  kBestLast,  // the best one next to the question
  kBestFirst,
};

// "by_time", "best_last", "best_first"; nothing for any other text.
std::optional<ViewOrder> parse_view_order(std::string_view name);
std::string_view view_order_name(ViewOrder order);

struct SelectOptions {
  int64_t max_tokens = 1024;
  ViewOrder order = ViewOrder::kByTime;
  // Segments below this score are left out, even where there is room.
  std::optional<double> min_score;
  // Segments further than this below the best are left out.
  std::optional<double> max_below_best;
  // Episodes whose best segment is further than this below the best of all are left out: one episode when the ranking's
  // margin is larger, several when it is smaller. None: every episode may take part. A segment without an episode is an
  // episode of its own.
  std::optional<double> episode_margin;
};

struct Choice {
  std::vector<RankedSegment> segments;  // in the view's order
  int64_t n_tokens = 0;                 // of them together; never more than max_tokens
  size_t n_left_out = 0;                // that took part and did not fit
  size_t n_episodes = 0;                // that the chosen segments come from
};

// Takes segments in the ranking's order while they fit; one that does not fit is passed over for a smaller one after
// it. taken: segments that are in the view already (pinned, recent), by index; they are neither chosen nor counted.
// kInvalidArgument when the ranking speaks of a segment that is not in `segments`.
Result<Choice> select(const Ranking& ranking, std::span<const Segment> segments, const SelectOptions& options,
                      std::span<const size_t> taken = {});

}  // namespace recalld::retrieval
