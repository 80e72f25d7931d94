// Lines from a person: libedit with history on a terminal, plain lines elsewhere.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace recalld::recallctl {

class LineEditor {
 public:
  virtual ~LineEditor() = default;
  // Without its newline; nothing at the end of input (Ctrl-D). On a terminal Ctrl-C clears the line.
  virtual std::optional<std::string> read(const std::string& prompt) = 0;
};

std::unique_ptr<LineEditor> make_line_editor();

}  // namespace recalld::recallctl
