// Conversations with questions whose evidence is known, in the format of LoCoMo (arXiv 2402.17753).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace recalld::bench {

struct Turn {
  int session = 0;   // number in the file
  std::string date;  // "1:56 pm on 8 May, 2023", as in the file; "" without one
  std::optional<int64_t> time_ms;
  std::string role, speaker, text;
};

struct Question {
  int index = 0;     // in the file's list
  int category = 0;  // 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial
  std::string text, gold;
  std::vector<int> evidence;  // turns, ascending; empty when a reference could not be resolved
};

struct Conversation {
  std::string id;  // sample_id, or the file's name
  std::vector<Turn> turns;
  std::vector<Question> questions;
};

// One file: an object {"sample_id"?, "conversation", "qa"} or an array of them. captions: what a turn's photo shows is
// appended to its text as an import does ("[shares a photo: ...]"). kInvalidArgument names what is missing.
Result<std::vector<Conversation>> parse_conversations(std::string_view json, const std::string& name, bool captions);

// All *.json of a folder in the order of their names. kNotFound when there is none.
Result<std::vector<Conversation>> read_conversations(const std::string& folder, bool captions);

}  // namespace recalld::bench
