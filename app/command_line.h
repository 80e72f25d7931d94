// The flags of recalld.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace recalld::app {

struct CommandLine {
  enum class Action { kRun, kCheckConfig, kPrintConfig, kPrintSettingsDoc, kHelp, kVersion } action = Action::kRun;
  std::optional<std::string> config_file;
  std::map<std::string, std::string> settings;  // key to text, unchecked
};

// arguments: without the program's name. --KEY VALUE or --KEY=VALUE for every setting and its short flag. A dotted key
// is taken as it is; other unknown flags are kInvalidArgument with the nearest known one.
Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments);

std::string help_text();

}  // namespace recalld::app
