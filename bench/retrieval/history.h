// A conversation as retrieval sees it: turns with their tokens and vectors, and segments of w turns.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/recall/locomo.h"
#include "episodes/transcript_format.h"
#include "retrieval/segment.h"
#include "retrieval/segment_index.h"
#include "runtime/text_encoder.h"

namespace recalld::bench {

struct History {
  Conversation conversation;
  std::vector<int32_t> turn_tokens;            // date line included
  std::vector<retrieval::SegmentTurn> turns;   // with vectors
  std::vector<retrieval::Question> questions;  // with embeddings, as conversation.questions
  size_t prefix_turns = 0;                     // the first turns that prefix_tokens hold
};

// Tokens in the plain style. kInvalidArgument, naming the conversation, when a text cannot be embedded.
Result<History> make_history(Conversation conversation, const episodes::TranscriptFormat& format,
                             runtime::TextEncoder* encoder, int64_t prefix_tokens);

// The first n_turns turns in segments of at most w turns, never over a date line.
std::vector<retrieval::Segment> make_segments(const History& history, size_t n_turns, int w);

}  // namespace recalld::bench
