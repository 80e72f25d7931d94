#include "daemon/logging.h"

#include <spdlog/logger.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>

#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>
#include <cstdio>

namespace recalld::daemon {
namespace {

constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warning", "error"};
// Priorities of syslog(3).
constexpr std::array<std::string_view, 4> kPriorities = {"<7>", "<6>", "<4>", "<3>"};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// One event stays one line, whatever a client put into it.
std::string one_line(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      line += c;
      continue;
    }
    std::array<char, 8> escape{};
    std::snprintf(escape.data(), escape.size(), "\\x%02x", byte);
    line += escape.data();
  }
  return line;
}

std::string quoted(std::string_view text) { return boost::json::serialize(boost::json::string_view(text)); }

}  // namespace

LogLevel parse_log_level(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i)
    if (name == kLevelNames[i]) return static_cast<LogLevel>(i);
  return LogLevel::kInfo;
}

bool stderr_is_journal(const std::string& journal_stream) {
  struct stat info {};
  if (journal_stream.empty() || ::fstat(STDERR_FILENO, &info) != 0) return false;
  return journal_stream == std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

Log::Log(const LogOptions& options, const Clock& clock)
    : Log(options, clock, std::make_shared<spdlog::sinks::stderr_sink_mt>()) {}

Log::Log(const LogOptions& options, const Clock& clock, std::shared_ptr<spdlog::sinks::sink> sink)
    : options_(options), clock_(clock), logger_(std::make_shared<spdlog::logger>("recalld", std::move(sink))) {
  logger_->set_pattern("%v");
  logger_->set_level(to_spdlog(options.level));
  logger_->flush_on(spdlog::level::debug);
}

void Log::write(LogLevel level, std::string_view component, std::string_view event,
                std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  const auto rank = static_cast<size_t>(level);
  std::string line;
  if (options_.journal) line += kPriorities[rank];
  if (options_.format == LogFormat::kJson) {
    line += "{\"ts\":" + quoted(format_rfc3339(clock_.now_ms())) + ",\"level\":" + quoted(kLevelNames[rank]) +
            ",\"component\":" + quoted(component) + ",\"event\":" + quoted(event);
    for (const auto& [name, value] : fields) line += "," + quoted(name) + ":" + quoted(value);
    line += "}";
  } else {
    if (!options_.journal) line += format_rfc3339(clock_.now_ms()) + " ";
    line += std::string(kLevelNames[rank]) + " " + std::string(component) + ": " + one_line(event);
    for (const auto& [name, value] : fields) line += " " + std::string(name) + "=" + one_line(value);
  }
  logger_->log(to_spdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

bool Log::enabled(LogLevel level) const { return logger_->should_log(to_spdlog(level)); }

void Log::set_level(LogLevel level) { logger_->set_level(to_spdlog(level)); }

}  // namespace recalld::daemon
