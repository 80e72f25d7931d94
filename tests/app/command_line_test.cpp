#include "app/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/settings.h"

namespace recalld::app {
namespace {

using ::testing::HasSubstr;

TEST(CommandLine, SettingsByKeyAndShortFlag) {
  const auto line = parse_command_line({"--server.listen=[::1]:1", "--model", "a=b.gguf", "--config", "c.toml"});
  ASSERT_TRUE(line.ok());
  EXPECT_EQ(line->settings.at("server.listen"), "[::1]:1");
  EXPECT_EQ(line->settings.at("model.path"), "a=b.gguf");
  EXPECT_EQ(line->config_file, "c.toml");
  EXPECT_EQ(line->action, CommandLine::Action::kRun);
}

TEST(CommandLine, Actions) {
  EXPECT_EQ(parse_command_line({"--check-config"})->action, CommandLine::Action::kCheckConfig);
  EXPECT_EQ(parse_command_line({"-h"})->action, CommandLine::Action::kHelp);
  EXPECT_EQ(parse_command_line({"--version"})->action, CommandLine::Action::kVersion);
}

TEST(CommandLine, MistakesAreNamed) {
  EXPECT_THAT(parse_command_line({"serve"}).status().message(), HasSubstr("\"serve\" is not a flag"));
  EXPECT_THAT(parse_command_line({"--model"}).status().message(), HasSubstr("--model needs a value"));
  EXPECT_THAT(parse_command_line({"--listn=1"}).status().message(), HasSubstr("did you mean --server.listen?"));
}

TEST(CommandLine, HelpNamesEverySetting) {
  const std::string help = help_text();
  for (const daemon::Setting& setting : daemon::all_settings())
    EXPECT_THAT(help, HasSubstr("--" + std::string(setting.key))) << setting.key;
}

}  // namespace
}  // namespace recalld::app
