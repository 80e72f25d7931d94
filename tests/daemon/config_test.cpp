#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "daemon/settings.h"

namespace recalld::daemon {
namespace {

using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = ::testing::TempDir() + "recalld-config-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    sources_.environment = {{"HOME", "/home/ada"}, {"PATH", "/bin"}, {"RECALLD_CACHE", "elsewhere"}};
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  Result<Config> with_file(const std::string& text) {
    const std::string path = folder_ + "/config.toml";
    std::ofstream(path) << text;
    sources_.file = path;
    return load_config(sources_);
  }
  std::string refused(const std::string& text) {
    const Result<Config> config = with_file(text);
    EXPECT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.status().code(), StatusCode::kInvalidArgument);
    return config.status().message();
  }

  std::string folder_;
  ConfigSources sources_;
};

TEST_F(ConfigTest, DefaultsAreValidAndTyped) {
  const auto config = load_config(sources_);
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->list("server.listen"), std::vector<std::string>{"127.0.0.1:8642"});
  EXPECT_EQ(config->integer("server.max_body_bytes"), 32 << 20);
  EXPECT_EQ(config->integer("server.header_timeout"), 10'000);
  EXPECT_EQ(config->text("memory.data_dir"), "/home/ada/.local/share/recalld");
  EXPECT_EQ(config->entry("log.level").origin, "default");
}

TEST_F(ConfigTest, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const auto level = [&] { return load_config(sources_)->text("log.level"); };
  EXPECT_EQ(level(), "info");
  ASSERT_TRUE(with_file("[log]\nlevel = \"warning\"\n").ok());
  EXPECT_EQ(level(), "warning");
  EXPECT_EQ(load_config(sources_)->entry("log.level").origin, folder_ + "/config.toml:2");
  sources_.environment["RECALLD_LOG_LEVEL"] = "error";
  EXPECT_EQ(level(), "error");
  sources_.flags["log.level"] = "debug";
  EXPECT_EQ(level(), "debug");
}

TEST_F(ConfigTest, FormsOfValues) {
  const auto config = with_file(
      "[server]\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\nheader_timeout = 2.5\nidle_timeout = 7\n"
      "write_timeout = \"250ms\"\nmax_body_bytes = \"2MB\"\nmax_header_bytes = 4096\nunix_socket = \"~/s\"\n"
      "allowed_hosts = \"one.example\"\n");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->list("server.listen").size(), 2U);
  EXPECT_EQ(config->integer("server.header_timeout"), 2500);
  EXPECT_EQ(config->integer("server.idle_timeout"), 7000);
  EXPECT_EQ(config->integer("server.write_timeout"), 250);
  EXPECT_EQ(config->integer("server.max_body_bytes"), 2'000'000);
  EXPECT_EQ(config->integer("server.max_header_bytes"), 4096);
  EXPECT_EQ(config->text("server.unix_socket"), "/home/ada/s");
  EXPECT_EQ(config->list("server.allowed_hosts"), std::vector<std::string>{"one.example"});
  sources_.environment["RECALLD_SERVER_LISTEN"] = "127.0.0.1:3, 127.0.0.1:4";
  EXPECT_EQ(load_config(sources_)->list("server.listen"), (std::vector<std::string>{"127.0.0.1:3", "127.0.0.1:4"}));
}

TEST_F(ConfigTest, UnknownKeysNameTheLineAndTheNearest) {
  EXPECT_THAT(refused("[server]\n\nmax_conections = 7\n"),
              ::testing::AllOf(HasSubstr("config.toml:3"), HasSubstr("server.max_conections"),
                               HasSubstr("did you mean server.max_connections?")));
  EXPECT_THAT(refused("[serwer]\nlisten = \"x\"\n"), HasSubstr("config.toml:1: unknown setting serwer"));
  EXPECT_THAT(refused("listen = \"127.0.0.1:1\"\n"), HasSubstr("did you mean server.listen?"));
  EXPECT_THAT(refused("[memory]\nthreads = 3\n"), HasSubstr("did you mean model.threads?"));
  EXPECT_THAT(refused("[server.listen]\na = 1\n"), HasSubstr("must be an array of strings"));
  sources_.file.reset();
  sources_.environment["RECALLD_MODEL_PAHT"] = "x";
  EXPECT_THAT(load_config(sources_).status().message(),
              ::testing::AllOf(HasSubstr("RECALLD_MODEL_PAHT"), HasSubstr("did you mean model.path?")));
  sources_.environment.erase("RECALLD_MODEL_PAHT");
  sources_.flags["server.lisen"] = "x";
  EXPECT_THAT(load_config(sources_).status().message(), HasSubstr("--server.lisen"));
}

TEST_F(ConfigTest, WrongValuesNameKeyValueAndRange) {
  EXPECT_THAT(
      refused("[memory]\npage_tokens = 100000\n"),
      ::testing::AllOf(HasSubstr("config.toml:2"), HasSubstr("memory.page_tokens = 100000"), HasSubstr("16 to 256")));
  EXPECT_THAT(refused("[log]\nlevel = \"loud\"\n"), HasSubstr("debug, info, warning, error"));
  EXPECT_THAT(refused("[server]\nmax_connections = \"many\"\n"), HasSubstr("an integer, 1 to 65536"));
  EXPECT_THAT(refused("[server]\nmax_connections = 1.5\n"), HasSubstr("1.5"));
  EXPECT_THAT(refused("[server]\nmax_body_bytes = \"12 bananas\"\n"), HasSubstr("12 bananas"));
  EXPECT_THAT(refused("[server]\nmax_body_bytes = -1\n"), HasSubstr("1KiB to 1GiB"));
  EXPECT_THAT(refused("[server]\nheader_timeout = \"forever\"\n"), HasSubstr("a duration such as \"10s\""));
  EXPECT_THAT(refused("[server]\nheader_timeout = inf\n"), HasSubstr("server.header_timeout"));
  EXPECT_THAT(refused("[server]\nlisten = [1, 2]\n"), HasSubstr("an array of strings"));
  EXPECT_THAT(refused("[server]\nlisten = 1979-05-27\n"), HasSubstr("server.listen"));
  EXPECT_THAT(refused("[memory]\nreading = \"all\"\n"), HasSubstr("recent, whole, sinks"));
  EXPECT_THAT(refused("[memory]\npage_tokens = 16\nblock_tokens = 16\n"), HasSubstr("memory.pinned_tokens = 16"));
}

TEST_F(ConfigTest, BrokenTomlNamesTheLine) {
  EXPECT_THAT(refused("[server]\nlisten = [\"a\"\nmax = 1\n"), HasSubstr("not valid TOML"));
  EXPECT_THAT(refused("[log]\nlevel = \"info\"\nlevel = \"debug\"\n"), HasSubstr("config.toml:3"));
}

TEST_F(ConfigTest, NamedFileMustExistDefaultOnesNeedNot) {
  sources_.default_files = {folder_ + "/a.toml", folder_ + "/b.toml"};
  EXPECT_EQ(load_config(sources_)->file(), "");
  std::ofstream(folder_ + "/b.toml") << "";
  EXPECT_EQ(load_config(sources_)->file(), folder_ + "/b.toml");
  sources_.file = folder_ + "/none.toml";
  EXPECT_THAT(load_config(sources_).status().message(), HasSubstr("none.toml"));
  sources_.file = folder_;
  EXPECT_THAT(load_config(sources_).status().message(), HasSubstr("cannot read"));
}

TEST_F(ConfigTest, DataDirectoryFollowsTheEnvironment) {
  sources_.environment["XDG_DATA_HOME"] = "/xdg";
  EXPECT_EQ(load_config(sources_)->text("memory.data_dir"), "/xdg/recalld");
  sources_.environment["STATE_DIRECTORY"] = "/var/lib/recalld:/var/lib/other";
  EXPECT_EQ(load_config(sources_)->text("memory.data_dir"), "/var/lib/recalld");
  sources_.environment.clear();
  EXPECT_THAT(load_config(sources_).status().message(), HasSubstr("memory.data_dir"));
}

TEST_F(ConfigTest, PrintedConfigurationGivesTheSameAgain) {
  sources_.flags = {{"server.max_body_bytes", "3MiB"},
                    {"server.idle_timeout", "90s"},
                    {"model.path", "a \"b\".gguf"},
                    {"server.listen", "127.0.0.1:1,127.0.0.1:2"}};
  const auto before = load_config(sources_);
  ASSERT_TRUE(before.ok());
  sources_.flags.clear();
  const auto after = with_file(before->to_toml());
  ASSERT_TRUE(after.ok()) << after.status().message() << before->to_toml();
  for (const Setting& setting : all_settings())
    EXPECT_EQ(before->entry(setting.key).value, after->entry(setting.key).value) << setting.key;
}

TEST(Settings, TableIsConsistent) {
  std::set<std::string_view> keys, flags;
  for (const Setting& setting : all_settings()) {
    EXPECT_TRUE(keys.insert(setting.key).second) << setting.key;
    EXPECT_TRUE(setting.short_flag.empty() || flags.insert(setting.short_flag).second) << setting.short_flag;
    EXPECT_LE(setting.least, setting.most) << setting.key;
    EXPECT_FALSE(setting.help.empty()) << setting.key;
    EXPECT_EQ(find_setting(setting.key), &setting);
  }
  EXPECT_EQ(nearest_setting("qqqqqqqqqqqqqqqqqqq"), "");
}

TEST(Settings, SizesAndDurations) {
  EXPECT_EQ(parse_size("512MiB"), 512LL << 20);
  EXPECT_EQ(parse_size("1.5 KiB"), 1536);
  EXPECT_EQ(parse_size("2gb"), 2'000'000'000);
  EXPECT_EQ(parse_size("0"), 0);
  for (const char* wrong : {"", "MiB", "-1", "1 XB", "1e3", "1,5", "99999999999999 TiB", "nan", "inf"})
    EXPECT_FALSE(parse_size(wrong).has_value()) << wrong;
  EXPECT_EQ(parse_duration_ms("10s"), 10'000);
  EXPECT_EQ(parse_duration_ms("1.5"), 1500);
  EXPECT_EQ(parse_duration_ms("5m"), 300'000);
  for (const char* wrong : {"", "s", "-1s", "1 day", "1e9h"})
    EXPECT_FALSE(parse_duration_ms(wrong).has_value()) << wrong;
  EXPECT_EQ(format_size(3 << 20), "3MiB");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_duration(1500), "1500ms");
  EXPECT_EQ(format_duration(7'200'000), "2h");
}

}  // namespace
}  // namespace recalld::daemon
