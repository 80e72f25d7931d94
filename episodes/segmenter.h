// Turns become segments: a few consecutive turns each, never over a gap in time, never longer than max_tokens.
//
// A turn joins the newest segment unless that has all its turns, would grow past max_tokens, or the time moves between
// the two by TranscriptFormat's rule (an hour or more, backwards, or known for the first time). A turn longer than
// max_tokens is cut into segments of its own, of equal size. So segments depend on the turns alone, never on when they
// were pushed, and a longer transcript begins with the segments of a shorter one but for the last.
//
// Not thread-safe: one owner thread.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "base/status.h"
#include "episodes/transcript_format.h"
#include "retrieval/segment.h"

namespace recalld::episodes {

struct SegmenterOptions {
  int32_t turns = 1;         // of a segment, at most; 1..64
  int32_t max_tokens = 256;  // of a segment; 16..4096
};

// kInvalidArgument, naming the number and its range.
Status check_segmenter_options(const SegmenterOptions& options);

class Segmenter {
 public:
  explicit Segmenter(const SegmenterOptions& options) : options_(options) {}

  // The next turn of the transcript. n_tokens: all its tokens, date line and markup included (of the first turn also
  // what the transcript starts with); 0 or more.
  void push(const TurnText& turn, int32_t n_tokens, const DateLine& date = {});

  // In order; their tokens continue each other from 0. The text of a cut turn is shared out in proportion to the
  // tokens, at white space where there is some.
  const std::vector<retrieval::Segment>& segments() const { return segments_; }
  // How many of them, from the first, no further turn can change. The others (at most one) may grow.
  size_t n_closed() const { return open_ ? segments_.size() - 1 : segments_.size(); }

  // Date lines as ranges of tokens [first, first + n), ascending.
  const std::vector<std::pair<int64_t, int32_t>>& date_lines() const { return date_lines_; }

  int64_t n_turns() const { return n_turns_; }
  int64_t n_tokens() const { return n_tokens_; }

  // The segment that token lies in; 0 <= token < n_tokens().
  size_t segment_at(int64_t token) const;

 private:
  void push_long(const TurnText& turn, int32_t n_tokens);

  SegmenterOptions options_;
  std::vector<retrieval::Segment> segments_;
  std::vector<std::pair<int64_t, int32_t>> date_lines_;
  bool open_ = false;  // the last segment may grow
  std::optional<int64_t> last_ms_;
  int64_t n_turns_ = 0, n_tokens_ = 0;
};

}  // namespace recalld::episodes
