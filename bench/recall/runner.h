// Measures every question of every conversation under every arm, where no record says it already.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/recall/history.h"
#include "bench/recall/options.h"
#include "bench/recall/record.h"

namespace recalld::bench {

// One arm over all conversations.
struct ArmResults {
  std::string name;
  int budget = 0;
  struct Item {
    int conversation = 0;
    QuestionRecord record;
  };
  std::vector<Item> questions;
  std::vector<BuildRecord> builds;  // one per conversation
};

struct ModelResults {
  std::string label;  // "smollm2": what figures are called by
  std::string file;   // name of the GGUF
  size_t f16_bytes_per_token = 0;
  std::vector<std::string> conversations;
  std::vector<ArmResults> arms;       // in the order of tables
  std::vector<std::string> left_out;  // "full: conv-30 does not fit the window ..."
};

// "smollm2", "gemma3" for those families, otherwise the file's name in letters and digits.
std::string model_label(const std::string& file);

// Uses and extends the records in options.out. An arm that cannot be built for a conversation because the history does
// not fit the window is left out there. model: index in options.models.
Result<ModelResults> measure(const Options& options, const std::vector<Conversation>& conversations, size_t model);

}  // namespace recalld::bench
