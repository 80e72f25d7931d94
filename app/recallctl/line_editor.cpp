#include "app/recallctl/line_editor.h"

#include <histedit.h>

#include <clocale>
#include <cstdio>
#include <iostream>

#include "app/recallctl/terminal.h"

namespace recalld::recallctl {
namespace {

constexpr int kHistoryLines = 500;

class PlainLines final : public LineEditor {
 public:
  std::optional<std::string> read(const std::string&) override {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
};

struct EditLineEnd {
  void operator()(EditLine* editor) const { el_end(editor); }
};
struct HistoryEnd {
  void operator()(History* history) const { history_end(history); }
};

class TerminalLines final : public LineEditor {
 public:
  TerminalLines() : history_(history_init()), editor_(el_init("recallctl", stdin, stdout, stderr)) {
    HistEvent event;
    history(history_.get(), &event, H_SETSIZE, kHistoryLines);
    history(history_.get(), &event, H_SETUNIQUE, 1);
    EditLine* editor = editor_.get();
    el_set(editor, EL_CLIENTDATA, this);
    el_set(editor, EL_PROMPT, &TerminalLines::prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, history_.get());
    el_set(editor, EL_SIGNAL, 1);
    // While a line is edited Ctrl-C is a key like any other; answers run with the terminal's usual settings.
    el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
    el_set(editor, EL_BIND, "^C", "em-kill-line", nullptr);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }

  std::optional<std::string> read(const std::string& prompt) override {
    prompt_ = prompt;
    // libedit shows the prompt before it changes the terminal's settings: a Ctrl-C typed in between would be a signal.
    el_set(editor_.get(), EL_PREP_TERM, 1);
    int length = 0;
    const char* text = el_gets(editor_.get(), &length);
    if (text == nullptr || length <= 0) return std::nullopt;
    std::string line(text, static_cast<size_t>(length));
    while (line.ends_with('\n') || line.ends_with('\r')) line.pop_back();
    HistEvent event;
    if (!line.empty()) history(history_.get(), &event, H_ENTER, line.c_str());
    return line;
  }

 private:
  static char* prompt_of(EditLine* editor) {
    TerminalLines* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt_.data();
  }

  std::string prompt_;
  std::unique_ptr<History, HistoryEnd> history_;
  std::unique_ptr<EditLine, EditLineEnd> editor_;
};

}  // namespace

std::unique_ptr<LineEditor> make_line_editor() {
  if (!stdin_is_terminal()) return std::make_unique<PlainLines>();
  // libedit cuts input into characters by the locale.
  if (std::setlocale(LC_CTYPE, "") == nullptr) std::setlocale(LC_CTYPE, "C.UTF-8");
  return std::make_unique<TerminalLines>();
}

}  // namespace recalld::recallctl
