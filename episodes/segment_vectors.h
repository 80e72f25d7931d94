// The vectors of one segment's turns and their sentences, as they are stored: half-precision numbers. What is stored is
// what is searched, so an index made from stored vectors ranks like the one they came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "episodes/transcript_format.h"
#include "retrieval/segment.h"
#include "retrieval/segment_index.h"
#include "runtime/text_encoder.h"

namespace recalld::episodes {

// A segment's turns as an index takes them, without vectors. turns: the segment's own, in order. Of a turn that was cut
// into several segments, this one's part; where a turn has no speaker, none.
std::vector<retrieval::SegmentTurn> segment_turns(const retrieval::Segment& segment, std::span<const TurnText> turns);

// Embeds the turns of one segment, text by text: each turn as "<speaker>: <text>", and its sentences.
class SegmentEmbedder {
 public:
  explicit SegmentEmbedder(std::vector<retrieval::SegmentTurn> turns);

  bool done() const { return turn_ == turns_.size(); }
  // Embeds the next text; call while !done(). Errors as TextEncoder::embed; the text is then still to be embedded.
  Status step(runtime::TextEncoder& encoder);
  // How long that text is.
  size_t next_bytes() const;
  // When done: the turns with their vectors, rounded to half precision.
  std::vector<retrieval::SegmentTurn> take() { return std::move(turns_); }

 private:
  std::vector<retrieval::SegmentTurn> turns_;
  std::vector<std::string> sentences_;  // of the turn in hand
  size_t turn_ = 0;
  size_t next_ = 0;  // in sentences_
};

// The unit vector of a segment, [dim]: of the sum of its turns' vectors; zero when that is.
std::vector<float> segment_vector(std::span<const retrieval::SegmentTurn> turns, int32_t dim);

// Little-endian: the number of turns (4 bytes), how many sentences each has (4 bytes each), and the vectors as halves:
// of each turn, then of its sentences.
std::vector<std::byte> pack_vectors(std::span<const retrieval::SegmentTurn> turns);

// Turns that hold nothing but their vectors. kCorrupt when the bytes are not those of pack_vectors with this dim.
Result<std::vector<retrieval::SegmentTurn>> unpack_vectors(std::span<const std::byte> bytes, int32_t dim);

}  // namespace recalld::episodes
