#include "app/recallctl/terminal.h"

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "app/recallctl/text.h"

namespace recalld::recallctl {

bool stdin_is_terminal() { return isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return isatty(STDOUT_FILENO) == 1; }

int terminal_columns() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

Look stdout_look() {
  if (!stdout_is_terminal()) return {};
  const bool utf8 = std::string_view(nl_langinfo(CODESET)) == "UTF-8";
  return {terminal_columns(), utf8, utf8};
}

ProgressLine::ProgressLine(std::FILE* to) : to_(to), terminal_(isatty(fileno(to)) == 1) {}

void ProgressLine::show(int64_t done, int64_t total, double per_second) {
  show(total > 0 ? done * 10 / total : 10,
       progress_text(done, total, per_second, terminal_ ? terminal_columns() - 1 : 0));
}

void ProgressLine::show(int64_t tenth, const std::string& text) {
  if (terminal_) {
    std::fprintf(to_, "\r%s\033[K", text.c_str());
    shown_ = true;
  } else {
    if (tenth == last_tenth_) return;
    last_tenth_ = tenth;
    std::fprintf(to_, "%s\n", text.c_str());
  }
  std::fflush(to_);
}

void ProgressLine::finish() {
  if (shown_) std::fprintf(to_, "\n");
  shown_ = false;
}

void ProgressLine::clear() {
  if (shown_) std::fprintf(to_, "\r\033[K");
  shown_ = false;
}

}  // namespace recalld::recallctl
