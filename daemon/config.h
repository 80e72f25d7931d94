// The settings in force: flag over environment over file over default.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"

namespace recalld::daemon {

struct ConfigSources {
  std::optional<std::string> file;         // named by the user: must exist
  std::vector<std::string> default_files;  // otherwise: the first of these that exists, if any
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> flags;  // setting key to text
};

// Every setting of settings.h with its value and origin. Asking for an unknown key, or by another type, is a programmer
// error (std::out_of_range, std::bad_variant_access).
class Config {
 public:
  using Value = std::variant<int64_t, std::string, std::vector<std::string>>;
  struct Entry {
    Value value;
    std::string origin;  // "default", "/etc/recalld/config.toml:12", "RECALLD_LOG_LEVEL", "--log.level"
  };

  int64_t integer(std::string_view key) const { return std::get<int64_t>(entry(key).value); }
  const std::string& text(std::string_view key) const { return std::get<std::string>(entry(key).value); }
  const std::vector<std::string>& list(std::string_view key) const {
    return std::get<std::vector<std::string>>(entry(key).value);
  }
  const Entry& entry(std::string_view key) const { return entries_.at(std::string(key)); }
  // The file that was read, or empty.
  const std::string& file() const { return file_; }

  // The configuration as a TOML file that would give the same, each line with its origin.
  std::string to_toml() const;

 private:
  friend Result<Config> load_config(const ConfigSources& sources);
  std::map<std::string, Entry> entries_;
  std::string file_;
};

// kInvalidArgument for anything wrong, naming where it stands, the value and what is allowed.
Result<Config> load_config(const ConfigSources& sources);

// ~/.config/recalld/config.toml (or under XDG_CONFIG_HOME) and /etc/recalld/config.toml.
std::vector<std::string> default_config_files(const std::map<std::string, std::string>& environment);

// $STATE_DIRECTORY, else recalld in $XDG_DATA_HOME or ~/.local/share; empty when none of them is known.
std::string default_data_dir(const std::map<std::string, std::string>& environment);

// "512MiB", "2GB", "4096" to bytes; "250ms", "10s", "5m", "1h", "2.5" (seconds) to milliseconds. None when it is not
// one, negative, or too large.
std::optional<int64_t> parse_size(std::string_view text);
std::optional<int64_t> parse_duration_ms(std::string_view text);

}  // namespace recalld::daemon
