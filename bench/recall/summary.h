// From records to what a table shows.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/recall/bootstrap.h"
#include "bench/recall/runner.h"

namespace recalld::bench {

struct ArmSummary {
  std::string name;
  int budget = 0;
  int questions = 0;
  double nll = 0;
  // (mean none - mean arm) / (mean none - mean reference); absent without records of none and the reference for the
  // same questions.
  std::optional<double> recovery;
  Interval recovery_questions, recovery_conversations;
  double better_than_full = 0;  // share of questions
  std::optional<double> kl;
  double survival = 0, coverage = 0;
  std::optional<double> f1_locomo, f1_epicache;
  double tokens = 0;                         // view and text
  double bytes_touched = 0;                  // mean over questions
  double bytes_held = 0;                     // mean over conversations
  double touched_share = 0, held_share = 0;  // of the history's full cache in 16 bits
  double build_tokens = 0;                   // per history token
  double first_token_ms = 0;                 // median
};

struct ModelSummary {
  std::string label, file;
  std::vector<std::string> conversations, left_out;
  // What 1 means: "full", or "evidence_text" where no history fits the window.
  std::string reference;
  double f16_bytes = 0;          // of the histories' full caches, mean over conversations
  std::vector<ArmSummary> arms;  // those that have records
  // Time to first token against the arm's, side by side in one run (median of the questions' ratios): reading the
  // whole history first, and re-reading retrieved text.
  std::optional<double> cold_to_ours, text_rag_to_ours;
};

ModelSummary summarize(const ModelResults& results, const BootstrapOptions& options);

}  // namespace recalld::bench
