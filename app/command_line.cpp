#include "app/command_line.h"

#include "daemon/settings.h"

namespace recalld::app {
namespace {

using Action = CommandLine::Action;

struct Command {
  std::string_view flag;
  Action action;
  std::string_view help;
};

constexpr Command kCommands[] = {
    {"check-config", Action::kCheckConfig, "check the configuration and start nothing; exit code 78 on an error"},
    {"print-config", Action::kPrintConfig, "print the settings in force and where each came from"},
    {"print-settings-doc", Action::kPrintSettingsDoc, "print docs/configuration.md"},
    {"help", Action::kHelp, "print this"},
    {"version", Action::kVersion, "print the version"},
};

// The setting of a flag without its dashes; empty when there is none.
std::string setting_of(const std::string& flag) {
  // A key that does not exist is reported with the others, by load_config.
  if (flag.find('.') != std::string::npos) return flag;
  for (const daemon::Setting& setting : daemon::all_settings())
    if (!setting.short_flag.empty() && setting.short_flag == flag) return std::string(setting.key);
  return "";
}

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string>& arguments) {
  CommandLine line;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h") {
      line.action = Action::kHelp;
      continue;
    }
    if (!argument.starts_with("--"))
      return invalid_argument("\"" + argument + "\" is not a flag; recalld --help lists them");
    const size_t equals = argument.find('=');
    const std::string flag = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const Command* command = nullptr;
    for (const Command& one : kCommands)
      if (one.flag == flag) command = &one;
    if (command != nullptr) {
      line.action = command->action;
      continue;
    }
    const std::string key = setting_of(flag);
    if (key.empty() && flag != "config") {
      const std::string_view near = daemon::nearest_setting(flag);
      return invalid_argument(
          "unknown flag --" + flag +
          (near.empty() ? "; recalld --help lists them" : "; did you mean --" + std::string(near) + "?"));
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return invalid_argument("--" + flag + " needs a value");
    }
    if (flag == "config")
      line.config_file = value;
    else
      line.settings.insert_or_assign(key, value);
  }
  return line;
}

std::string help_text() {
  std::string text =
      "recalld: long memory for a local language model\n\n"
      "usage: recalld [--config FILE] [--SETTING=VALUE ...]\n\n"
      "  --config FILE\n      read this file instead of ~/.config/recalld/config.toml or /etc/recalld/config.toml\n";
  for (const Command& command : kCommands)
    text += "  --" + std::string(command.flag) + "\n      " + std::string(command.help) + "\n";
  text += "\nSettings, also as RECALLD_SECTION_NAME in the environment or in the file:\n";
  for (const daemon::Setting& setting : daemon::all_settings()) {
    text += "  --" + std::string(setting.key) +
            (setting.short_flag.empty() ? "" : ", --" + std::string(setting.short_flag)) +
            (setting.fallback.empty() ? "" : "  (" + std::string(setting.fallback) + ")") + "\n      " +
            std::string(setting.help) + "\n";
  }
  return text;
}

}  // namespace recalld::app
