// The log: one line an event on standard error, as text or JSON; under systemd with the journal's priorities.
// Message contents are never logged at info or above.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "daemon/open_service.h"

namespace spdlog {
class logger;
namespace sinks {
class sink;
}
}  // namespace spdlog

namespace recalld::daemon {

enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
  bool journal = false;  // "<6>" before each line, no time: the journal has its own
};

// "debug", "info", "warning", "error"; anything else is kInfo.
LogLevel parse_log_level(std::string_view name);

// True when standard error is a stream of the journal, that is, JOURNAL_STREAM names its device and inode.
bool stderr_is_journal(const std::string& journal_stream);

// Safe from any thread; writing never throws.
class Log {
 public:
  // Clock outlives the log. Writes to standard error.
  Log(const LogOptions& options, const Clock& clock);
  // The same into a sink, for tests.
  Log(const LogOptions& options, const Clock& clock, std::shared_ptr<spdlog::sinks::sink> sink);

  using Field = std::pair<std::string_view, std::string_view>;
  // component: "server", "engine", "main". Line breaks in texts are escaped.
  void write(LogLevel level, std::string_view component, std::string_view event,
             std::initializer_list<Field> fields = {});
  void debug(std::string_view component, std::string_view event, std::initializer_list<Field> fields = {}) {
    write(LogLevel::kDebug, component, event, fields);
  }
  void info(std::string_view component, std::string_view event, std::initializer_list<Field> fields = {}) {
    write(LogLevel::kInfo, component, event, fields);
  }
  void warning(std::string_view component, std::string_view event, std::initializer_list<Field> fields = {}) {
    write(LogLevel::kWarning, component, event, fields);
  }
  void error(std::string_view component, std::string_view event, std::initializer_list<Field> fields = {}) {
    write(LogLevel::kError, component, event, fields);
  }

  bool enabled(LogLevel level) const;
  void set_level(LogLevel level);

 private:
  LogOptions options_;
  const Clock& clock_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace recalld::daemon
