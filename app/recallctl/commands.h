// One function for each subcommand. Each prints its result (as JSON when asked) and returns what went wrong; main()
// prints that and chooses the exit code.
#pragma once

#include <string>

#include "app/recallctl/api.h"
#include "base/status.h"

namespace recalld::recallctl {

struct ImportOptions {
  std::string file;     // "-" is standard input
  std::string session;  // empty: a new one
  std::string title;    // of the new one; empty: the file's name
  std::string style;    // "auto": "plain" when messages name their speakers
  bool wait = true;
};
Status import_command(const Api& api, const ImportOptions& options, bool json);

// evidence: with the messages that were chosen for the question.
Status ask_command(const Api& api, const Question& question, bool evidence, bool json);

struct ChatOptions {
  std::string session;  // empty: a new one
  int64_t max_tokens = 0;
  double temperature = -1;
  bool evidence = false;  // after each answer
};
// Ends at /quit or the end of input. Ctrl-C stops the answer, not the program.
Status chat_command(const Api& api, const ChatOptions& options);

Status sessions_command(const Api& api, bool json);
// Totals, timeline and episode map; the transcript is read for the timeline.
Status memory_command(const Api& api, const std::string& session, bool watch, bool json);
// Returns when all of the session is in memory.
Status wait_command(const Api& api, const std::string& session, bool json);
Status remove_command(const Api& api, const std::string& session, bool json);
Status backup_command(const Api& api, const std::string& path, bool json);
// kCorrupt when a store has problems.
Status verify_command(const Api& api, bool json);

void print_json(const boost::json::value& value);

}  // namespace recalld::recallctl
