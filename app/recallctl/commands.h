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

Status ask_command(const Api& api, const Question& question, bool json);

struct ChatOptions {
  std::string session;  // empty: a new one
  int64_t max_tokens = 0;
  double temperature = -1;
};
// Ends at /quit or the end of input. Ctrl-C stops the answer, not the program.
Status chat_command(const Api& api, const ChatOptions& options);

Status sessions_command(const Api& api, bool json);
Status memory_command(const Api& api, const std::string& session, bool watch, bool json);
// Returns when all of the session is in memory.
Status wait_command(const Api& api, const std::string& session, bool json);
Status remove_command(const Api& api, const std::string& session, bool json);
Status backup_command(const Api& api, const std::string& path, bool json);
// kCorrupt when a store has problems.
Status verify_command(const Api& api, bool json);

// "1.2 s to the first token; 5,180 tokens from memory, 24 read; 14.2 MiB of memory, 40.1 MiB in 16 bits".
std::string recall_line(const boost::json::object& recall);
// The lines that `memory` prints.
std::string memory_lines(const boost::json::object& memory);
void print_json(const boost::json::value& value);

}  // namespace recalld::recallctl
