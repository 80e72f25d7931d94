// A segment: a few consecutive turns of a session, the unit that is embedded, clustered, ranked and shown to a
// question. Its tokens fill page groups of their own, so choosing segments is choosing whole pages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace recalld::retrieval {

struct Segment {
  int64_t first_turn = 0;
  int32_t n_turns = 0;
  int64_t token_first = 0;  // in the session's trunk
  int32_t n_tokens = 0;
  // When its first and last dated turn was said, Unix milliseconds; none without dates.
  std::optional<int64_t> first_ms, last_ms;
  // "<speaker>: <text>" lines, without dates: what is embedded and indexed. A role stands for a missing speaker.
  std::string text;
};

}  // namespace recalld::retrieval
