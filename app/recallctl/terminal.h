// What is on the other end of standard output.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace recalld::recallctl {

bool stdin_is_terminal();
bool stdout_is_terminal();
// Characters in a line; 80 when unknown.
int terminal_columns();

// What standard output can show.
struct Look {
  int columns = 80;
  bool utf8 = true;     // characters beyond ASCII
  bool blocks = false;  // block characters, for bars with parts of a column: on a UTF-8 terminal
};
// By the terminal and the locale that main() has set. Into a file or pipe: 80 columns, texts as they are, plain bars.
Look stdout_look();

// One line that is rewritten in place on a terminal; elsewhere a plain line each time the tenth of the work changes.
class ProgressLine {
 public:
  // to: standard output or standard error.
  explicit ProgressLine(std::FILE* to = stdout);
  void show(int64_t done, int64_t total, double per_second);
  // Any text; tenth: of the work.
  void show(int64_t tenth, const std::string& text);
  // Leaves the last state standing and goes to a new line.
  void finish();
  // Takes the line away.
  void clear();

 private:
  std::FILE* to_;
  bool terminal_;
  int64_t last_tenth_ = -1;
  bool shown_ = false;
};

}  // namespace recalld::recallctl
