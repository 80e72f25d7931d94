#include "daemon/logging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <boost/json/parse.hpp>
#include <sstream>

namespace recalld::daemon {
namespace {

class LoggingTest : public ::testing::Test {
 protected:
  Log make(const LogOptions& options) {
    return Log(options, clock_, std::make_shared<spdlog::sinks::ostream_sink_mt>(text_));
  }
  ManualClock clock_{1'683'554'160'000};
  std::ostringstream text_;
};

TEST_F(LoggingTest, TextLines) {
  Log log = make({LogLevel::kInfo, LogFormat::kText, false});
  log.info("server", "listening", {{"address", "127.0.0.1:1"}});
  log.debug("server", "not this");
  EXPECT_EQ(text_.str(), "2023-05-08T13:56:00Z info server: listening address=127.0.0.1:1\n");
}

TEST_F(LoggingTest, OneEventIsOneLineWhateverItHolds) {
  Log log = make({LogLevel::kInfo, LogFormat::kText, true});
  log.warning("server", "odd", {{"path", "a\nb\x1b[2J"}});
  EXPECT_EQ(text_.str(), "<4>warning server: odd path=a\\x0ab\\x1b[2J\n");
}

TEST_F(LoggingTest, JsonLinesParse) {
  Log log = make({LogLevel::kDebug, LogFormat::kJson, false});
  log.error("engine", "it \"broke\"\n", {{"request_id", "r1"}});
  const std::string line = text_.str();
  const boost::json::value value = boost::json::parse(line.substr(0, line.size() - 1));
  EXPECT_EQ(value.at("ts").as_string(), "2023-05-08T13:56:00Z");
  EXPECT_EQ(value.at("level").as_string(), "error");
  EXPECT_EQ(value.at("event").as_string(), "it \"broke\"\n");
  EXPECT_EQ(value.at("request_id").as_string(), "r1");
}

TEST_F(LoggingTest, LevelMayChange) {
  Log log = make({LogLevel::kError, LogFormat::kText, false});
  log.warning("main", "unheard");
  log.set_level(LogLevel::kDebug);
  EXPECT_TRUE(log.enabled(LogLevel::kDebug));
  log.debug("main", "heard");
  EXPECT_THAT(text_.str(), ::testing::EndsWith("debug main: heard\n"));
  EXPECT_EQ(text_.str().find("unheard"), std::string::npos);
}

TEST(Logging, JournalIsRecognisedByDeviceAndInode) {
  EXPECT_FALSE(stderr_is_journal(""));
  EXPECT_FALSE(stderr_is_journal("1:2"));
}

}  // namespace
}  // namespace recalld::daemon
