// What of a conversation is remembered, as tokens, and the questions that it can answer.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "bench/recall/locomo.h"
#include "episodes/transcript_format.h"
#include "retrieval/segment.h"
#include "runtime/tokenizer.h"

namespace recalld::bench {

// Tokens [first, first + n) of a history.
struct TokenRange {
  int64_t first = 0;
  int64_t n = 0;
  int64_t end() const { return first + n; }
};

// A turn's tokens; header is its date line, n = 0 where the date has not moved.
struct TurnTokens {
  TokenRange header, words;
};

struct Asked {
  Question question;
  std::vector<int32_t> prompt;  // "\nQuestion: ...\nAnswer:"
  std::vector<int32_t> gold;    // " <gold>"
};

struct HistoryOptions {
  int64_t max_tokens = 0;  // whole turns up to this many; 0 for the whole conversation
  std::vector<int> categories{1, 2, 4};
  int limit = 0;  // questions, spread evenly over those there are; 0 for all
  int segment_turns = 4;
};

struct History {
  std::string id;
  Digest128 digest;  // of the tokens
  std::vector<Turn> turns;
  std::vector<int32_t> tokens;
  TokenRange start;                // before the first turn
  std::vector<TurnTokens> places;  // parallel to turns
  // Windows of turns within a session. A segment's tokens begin with a date line if its first turn has one.
  std::vector<retrieval::Segment> segments;
  std::vector<Asked> questions;

  // The date line of the session that a turn belongs to; n = 0 without one.
  TokenRange session_header(int turn) const;
  // The segments that hold the turns, ascending, each once.
  std::vector<int> segments_of(const std::vector<int>& turns) const;
  // Tokens of the turns' words.
  std::vector<TokenRange> words_of(const std::vector<int>& turns) const;
};

// The plain format: "A conversation:\n", "\n[<date>]\n" at the start of a session, "<speaker>: <text>\n" a turn. Only
// questions of the categories, with an answer, whose evidence is known and lies inside. kInternal when
// episodes::TranscriptFormat writes anything else.
Result<History> make_history(const Conversation& conversation,
                             const std::shared_ptr<const runtime::Tokenizer>& tokenizer, const HistoryOptions& options);

}  // namespace recalld::bench
