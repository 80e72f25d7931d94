// Ours: a trunk read once, pages of the best segments at compact positions; and the same segments re-read as text.
#pragma once

#include <string>

#include "bench/recall/arms/segment_choice.h"
#include "episodes/reading_policy.h"

namespace recalld::bench {

struct OurOptions {
  std::string label;  // "": the arm "ours"; otherwise "ours_<label>"
  ChoiceOptions choice;
  episodes::ReadingPolicy reading = episodes::ReadingPolicy::kRecent;
  int32_t reading_view = 4096;  // tokens seen while reading
  int32_t block = 128;
  int32_t near = 0;        // young tokens, and
  std::string near_codec;  // how they are coded: see episodes::near_pages
  std::string codec = "trellis-4";
  std::string archive;        // that old pages lie in at rest; "": exact
  std::string reading_codec;  // pages seen while reading, coded anew at the end; "": codec
  std::string encoder;        // GGUF
  std::string calibrations;   // folder of FINGERPRINT.rcal, for codecs that need one
};

// "LABEL:key=value,key=value"; the label or the values may be missing. Keys: reading (recent, whole, sinks, composed),
// view, block, near, near_codec, codec, rest (exact, archive-4, -3, -2), read (reading_codec), turns, pinned, recent,
// order. kInvalidArgument names what is wrong.
Result<OurOptions> parse_our_options(const std::string& text);

std::unique_ptr<Arm> make_our_arm(int budget, const OurOptions& options);

// Chooses as ours with these options, and reads the same tokens again.
std::unique_ptr<Arm> make_text_rag(int budget, const OurOptions& options);

}  // namespace recalld::bench
