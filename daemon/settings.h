// Every setting of the daemon, as data. The parser, --help, --print-config and docs/configuration.md are made from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace recalld::daemon {

enum class SettingType {
  kText,
  kPath,      // "~/" at the start is the home directory
  kTextList,  // an array of strings; on the command line and in the environment separated by commas
  kChoice,    // one of `choices`
  kInteger,
  kSize,      // bytes: an integer, or "512MiB"
  kDuration,  // milliseconds inside; written "10s", "250ms", or a number of seconds
};

struct Setting {
  std::string_view key;  // "server.listen"
  SettingType type = SettingType::kText;
  std::string_view fallback;  // as it would be written on the command line
  int64_t least = 0;          // allowed range of kInteger, kSize (bytes) and kDuration (milliseconds)
  int64_t most = 0;
  std::string_view choices;     // separated by '|'
  bool reloadable = false;      // taken over on SIGHUP
  std::string_view short_flag;  // a second, shorter flag, or empty
  std::string_view zero_means;  // what 0 or an empty value stands for, or empty
  std::string_view help;
};

// In the order of the documentation; keys of one section stand together.
std::span<const Setting> all_settings();

// Null when there is none.
const Setting* find_setting(std::string_view key);

// The key most like an unknown one, or empty when none is near.
std::string_view nearest_setting(std::string_view key);

// "RECALLD_SERVER_LISTEN" for "server.listen".
std::string environment_name(std::string_view key);

// "1 to 65536", "1 KiB to 1 GiB", "text|json", for messages and the documentation; empty when anything goes.
std::string allowed_values(const Setting& setting);

// docs/configuration.md.
std::string settings_document();

// "512MiB", "10s": the shortest exact form.
std::string format_size(int64_t bytes);
std::string format_duration(int64_t ms);

}  // namespace recalld::daemon
