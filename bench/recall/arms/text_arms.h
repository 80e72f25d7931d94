// Arms that read text before the question, with no pages.
#pragma once

#include "bench/recall/arms/arm.h"

namespace recalld::bench {

// The question after the beginning of the text alone: what the model knows without the history.
std::unique_ptr<Arm> make_none();

// The segments that hold the evidence, each session's after its date line: a perfect text retrieval.
std::unique_ptr<Arm> make_evidence_text();

// Tokens of the history inside the ranges, in the order given, after the beginning of the text. ranges are not to
// include the beginning.
Composed reread(const History& history, const std::vector<TokenRange>& ranges);

// Segments as text: the date line of a segment's session comes before the first of the session's segments.
std::vector<TokenRange> dated_segments(const History& history, const std::vector<int>& segments);

}  // namespace recalld::bench
