#include <cstdio>
#include <string>
#include <vector>

#include "api/version.h"
#include "app/command_line.h"
#include "app/options.h"
#include "app/process.h"
#include "daemon/settings.h"

extern char** environ;

namespace recalld::app {
namespace {

std::map<std::string, std::string> environment_map() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const size_t equals = text.find('=');
    if (equals != std::string::npos) environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

int complain(const Status& status) {
  std::fprintf(stderr, "recalld: %s\n", status.message().c_str());
  return kExitConfig;
}

int print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  return std::fflush(stdout) == 0 ? 0 : kExitFailed;
}

int recalld_main(const std::vector<std::string>& arguments) {
  const auto line = parse_command_line(arguments);
  if (!line.ok()) return complain(line.status());
  using Action = CommandLine::Action;
  if (line->action == Action::kHelp) return print(help_text());
  if (line->action == Action::kVersion) return print("recalld " + std::string(api::kVersion) + "\n");
  if (line->action == Action::kPrintSettingsDoc) return print(daemon::settings_document());

  daemon::ConfigSources sources;
  sources.environment = environment_map();
  sources.file = line->config_file;
  sources.default_files = daemon::default_config_files(sources.environment);
  sources.flags = line->settings;
  auto config = daemon::load_config(sources);
  if (!config.ok()) return complain(config.status());
  if (line->action == Action::kPrintConfig) return print(config->to_toml());
  if (line->action == Action::kCheckConfig) {
    api::KeyRing keys;
    if (const Status status = check_config(*config, &keys); !status.ok()) return complain(status);
    return print("the configuration is valid\n");
  }
  const SystemClock clock;
  return Process(std::move(*config), std::move(sources), clock).run();
}

}  // namespace
}  // namespace recalld::app

int main(int argc, char** argv) {
  try {
    return recalld::app::recalld_main(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "recalld: unexpected: %s\n", e.what());
    return recalld::app::kExitFailed;
  }
}
