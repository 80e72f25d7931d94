#include "daemon/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "daemon/settings.h"

namespace recalld::daemon {
namespace {

using Environment = std::map<std::string, std::string>;

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The number at the start of text; the rest is left in *unit.
std::optional<double> leading_number(std::string_view text, std::string_view* unit) {
  text = trim(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  *unit = trim(text.substr(static_cast<size_t>(end - text.data())));
  return number;
}

std::optional<int64_t> scaled(double number, double scale) {
  const double product = number * scale;
  if (product > 9.0e18) return std::nullopt;
  return static_cast<int64_t>(std::llround(product));
}

std::string variable(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

}  // namespace

std::string default_data_dir(const Environment& environment) {
  // With several directories systemd separates them by colons; the first is ours.
  const std::string state = variable(environment, "STATE_DIRECTORY");
  if (!state.empty()) return state.substr(0, state.find(':'));
  const std::string data = variable(environment, "XDG_DATA_HOME");
  if (!data.empty()) return data + "/recalld";
  const std::string home = variable(environment, "HOME");
  return home.empty() ? "" : home + "/.local/share/recalld";
}

namespace {

Status wrong(const Setting& setting, const std::string& origin, const std::string& shown) {
  const std::string allowed = allowed_values(setting);
  std::string wanted;
  switch (setting.type) {
    case SettingType::kInteger:
      wanted = "an integer, " + allowed;
      break;
    case SettingType::kSize:
      wanted = "a size such as \"512MiB\", " + allowed;
      break;
    case SettingType::kDuration:
      wanted = "a duration such as \"10s\", " + allowed;
      break;
    case SettingType::kChoice:
      wanted = "one of " + allowed;
      break;
    case SettingType::kTextList:
      wanted = "an array of strings";
      break;
    default:
      wanted = "a string";
  }
  return invalid_argument(origin + ": " + std::string(setting.key) + " = " + shown + " is not allowed; it must be " +
                          wanted);
}

Result<Config::Value> number_value(const Setting& setting, std::optional<int64_t> number, const std::string& origin,
                                   const std::string& shown) {
  if (!number || *number < setting.least || *number > setting.most) return wrong(setting, origin, shown);
  return Config::Value(*number);
}

std::optional<int64_t> parse_integer(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool is_choice(const Setting& setting, std::string_view text) {
  std::string_view rest = setting.choices;
  while (!rest.empty()) {
    const size_t bar = rest.find('|');
    if (rest.substr(0, bar) == text) return true;
    rest.remove_prefix(bar == std::string_view::npos ? rest.size() : bar + 1);
  }
  return false;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    if (const std::string_view item = trim(text.substr(0, comma)); !item.empty()) items.emplace_back(item);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return items;
}

// A value written as text: flag, environment, default, or a string in the file.
Result<Config::Value> text_value(const Setting& setting, const std::string& text, const std::string& origin,
                                 const Environment& environment) {
  const std::string shown = "\"" + text + "\"";
  switch (setting.type) {
    case SettingType::kText:
      return Config::Value(text);
    case SettingType::kPath: {
      const bool in_home = text == "~" || text.starts_with("~/");
      return Config::Value(in_home ? variable(environment, "HOME") + text.substr(1) : text);
    }
    case SettingType::kTextList:
      return Config::Value(split_list(text));
    case SettingType::kChoice:
      if (!is_choice(setting, text)) return wrong(setting, origin, shown);
      return Config::Value(text);
    case SettingType::kInteger:
      return number_value(setting, parse_integer(text), origin, shown);
    case SettingType::kSize:
      return number_value(setting, parse_size(text), origin, shown);
    case SettingType::kDuration:
      return number_value(setting, parse_duration_ms(text), origin, shown);
  }
  return wrong(setting, origin, shown);
}

std::string show(const toml::node& node) {
  std::ostringstream text;
  node.visit([&](const auto& value) {
    if constexpr (toml::is_table<decltype(value)>)
      text << "a table";
    else
      text << value;
  });
  return text.str();
}

Result<Config::Value> node_value(const Setting& setting, const toml::node& node, const std::string& origin,
                                 const Environment& environment) {
  const bool numeric = setting.type == SettingType::kInteger || setting.type == SettingType::kSize;
  if (const auto* integer = node.as_integer()) {
    if (numeric) return number_value(setting, integer->get(), origin, show(node));
    if (setting.type == SettingType::kDuration && std::abs(integer->get()) < INT64_MAX / 1000)
      return number_value(setting, integer->get() * 1000, origin, show(node));
  } else if (const auto* real = node.as_floating_point()) {
    if (setting.type == SettingType::kDuration && std::abs(real->get()) < 1e15)
      return number_value(setting, std::llround(real->get() * 1000), origin, show(node));
  } else if (const auto* text = node.as_string()) {
    if (setting.type == SettingType::kInteger) return wrong(setting, origin, show(node));
    if (setting.type == SettingType::kTextList) return Config::Value(std::vector<std::string>{text->get()});
    return text_value(setting, text->get(), origin, environment);
  } else if (const auto* array = node.as_array(); array != nullptr && setting.type == SettingType::kTextList) {
    std::vector<std::string> items;
    for (const toml::node& item : *array) {
      if (!item.is_string()) return wrong(setting, origin, show(node));
      items.push_back(item.as_string()->get());
    }
    return Config::Value(std::move(items));
  }
  return wrong(setting, origin, show(node));
}

Status unknown_key(const std::string& key, const std::string& origin) {
  const std::string_view near = nearest_setting(key);
  return invalid_argument(
      origin + ": unknown setting " + key +
      (near.empty() ? "; docs/configuration.md lists them all" : "; did you mean " + std::string(near) + "?"));
}

Status read_table(const toml::table& table, const std::string& prefix, const std::string& file,
                  const Environment& environment, std::map<std::string, Config::Entry>* entries) {
  for (const auto& [name, node] : table) {
    const std::string key = prefix.empty() ? std::string(name.str()) : prefix + "." + std::string(name.str());
    const std::string origin = file + ":" + std::to_string(name.source().begin.line);
    const Setting* setting = find_setting(key);
    if (setting == nullptr) {
      const bool section =
          prefix.empty() && node.is_table() &&
          std::ranges::any_of(all_settings(), [&](const Setting& one) { return one.key.starts_with(key + "."); });
      if (!section) return unknown_key(key, origin);
      RECALLD_RETURN_IF_ERROR(read_table(*node.as_table(), key, file, environment, entries));
      continue;
    }
    RECALLD_ASSIGN_OR_RETURN(Config::Value value, node_value(*setting, node, origin, environment));
    entries->insert_or_assign(key, Config::Entry{std::move(value), origin});
  }
  return ok_status();
}

Status read_file(const std::string& path, const Environment& environment,
                 std::map<std::string, Config::Entry>* entries) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  if (!stream || !(text << stream.rdbuf())) {
    std::error_code error;
    const bool empty = stream.is_open() && std::filesystem::is_regular_file(path, error) &&
                       std::filesystem::file_size(path, error) == 0;
    if (!empty) return invalid_argument("cannot read the configuration file " + path + "; check its name and mode");
  }
  try {
    return read_table(toml::parse(text.str(), path), "", path, environment, entries);
  } catch (const toml::parse_error& error) {
    return invalid_argument(path + ":" + std::to_string(error.source().begin.line) +
                            ": not valid TOML: " + std::string(error.description()));
  }
}

Status read_environment(const Environment& environment, std::map<std::string, Config::Entry>* entries) {
  for (const auto& [name, text] : environment) {
    const Setting* found = nullptr;
    bool ours = false;
    for (const Setting& setting : all_settings()) {
      if (environment_name(setting.key) == name) found = &setting;
      ours = ours || name.starts_with(environment_name(setting.key.substr(0, setting.key.find('.') + 1)));
    }
    if (found == nullptr) {
      if (!ours) continue;
      std::string key = name.substr(std::string_view("RECALLD_").size());
      std::ranges::transform(key, key.begin(), [](unsigned char c) { return std::tolower(c); });
      key[key.find('_')] = '.';
      return unknown_key(key, name);
    }
    RECALLD_ASSIGN_OR_RETURN(Config::Value value, text_value(*found, text, name, environment));
    entries->insert_or_assign(std::string(found->key), Config::Entry{std::move(value), name});
  }
  return ok_status();
}

std::string quote(const std::string& text) {
  std::ostringstream out;
  const toml::value<std::string> value(text);
  out << toml::toml_formatter(value, toml::toml_formatter::default_flags & ~toml::format_flags::allow_literal_strings);
  return out.str();
}

std::string toml_text(const Setting& setting, const Config::Value& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) {
    if (setting.type == SettingType::kSize) return quote(format_size(*number));
    if (setting.type == SettingType::kDuration) return quote(format_duration(*number));
    return std::to_string(*number);
  }
  if (const auto* text = std::get_if<std::string>(&value)) return quote(*text);
  std::string text = "[";
  for (const std::string& item : std::get<std::vector<std::string>>(value))
    text += (text.size() > 1 ? ", " : "") + quote(item);
  return text + "]";
}

}  // namespace

std::optional<int64_t> parse_size(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"", 1},
                                                                   {"b", 1},
                                                                   {"k", 1024.0},
                                                                   {"kib", 1024.0},
                                                                   {"kb", 1e3},
                                                                   {"m", 1048576.0},
                                                                   {"mib", 1048576.0},
                                                                   {"mb", 1e6},
                                                                   {"g", 1073741824.0},
                                                                   {"gib", 1073741824.0},
                                                                   {"gb", 1e9},
                                                                   {"t", 1099511627776.0},
                                                                   {"tib", 1099511627776.0},
                                                                   {"tb", 1e12},
                                                                   {"pib", 1125899906842624.0}};
  std::string_view unit;
  const auto number = leading_number(text, &unit);
  if (!number) return std::nullopt;
  std::string lower(unit);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const auto& [name, scale] : kUnits)
    if (lower == name) return scaled(*number, scale);
  return std::nullopt;
}

std::optional<int64_t> parse_duration_ms(std::string_view text) {
  static constexpr std::pair<std::string_view, double> kUnits[] = {{"", 1000},  {"ms", 1},     {"s", 1000},
                                                                   {"m", 60e3}, {"min", 60e3}, {"h", 3600e3}};
  std::string_view unit;
  const auto number = leading_number(text, &unit);
  if (!number) return std::nullopt;
  for (const auto& [name, scale] : kUnits)
    if (unit == name) return scaled(*number, scale);
  return std::nullopt;
}

std::vector<std::string> default_config_files(const Environment& environment) {
  std::vector<std::string> files;
  const std::string config = variable(environment, "XDG_CONFIG_HOME");
  const std::string home = variable(environment, "HOME");
  if (!config.empty())
    files.push_back(config + "/recalld/config.toml");
  else if (!home.empty())
    files.push_back(home + "/.config/recalld/config.toml");
  files.emplace_back("/etc/recalld/config.toml");
  return files;
}

Result<Config> load_config(const ConfigSources& sources) {
  Config config;
  for (const Setting& setting : all_settings()) {
    const std::string fallback =
        setting.key == "memory.data_dir" ? default_data_dir(sources.environment) : std::string(setting.fallback);
    RECALLD_ASSIGN_OR_RETURN(Config::Value value, text_value(setting, fallback, "default", sources.environment));
    config.entries_.insert_or_assign(std::string(setting.key), Config::Entry{std::move(value), "default"});
  }

  std::error_code ignored;
  const auto present = std::ranges::find_if(
      sources.default_files, [&](const std::string& path) { return std::filesystem::exists(path, ignored); });
  if (sources.file)
    config.file_ = *sources.file;
  else if (present != sources.default_files.end())
    config.file_ = *present;
  if (!config.file_.empty()) RECALLD_RETURN_IF_ERROR(read_file(config.file_, sources.environment, &config.entries_));

  RECALLD_RETURN_IF_ERROR(read_environment(sources.environment, &config.entries_));
  for (const auto& [key, text] : sources.flags) {
    const Setting* setting = find_setting(key);
    if (setting == nullptr) return unknown_key(key, "--" + key);
    RECALLD_ASSIGN_OR_RETURN(Config::Value value, text_value(*setting, text, "--" + key, sources.environment));
    config.entries_.insert_or_assign(key, Config::Entry{std::move(value), "--" + key});
  }
  if (config.text("memory.data_dir").empty())
    return invalid_argument("memory.data_dir is not set and HOME is unknown; set memory.data_dir");
  const int64_t page = config.integer("memory.page_tokens");
  if (config.integer("memory.pinned_tokens") >= page)
    return invalid_argument(config.entry("memory.pinned_tokens").origin +
                            ": memory.pinned_tokens = " + std::to_string(config.integer("memory.pinned_tokens")) +
                            " must be less than memory.page_tokens (" + std::to_string(page) + ")");
  return config;
}

std::string Config::to_toml() const {
  std::string text;
  std::string_view section;
  for (const Setting& setting : all_settings()) {
    const size_t dot = setting.key.find('.');
    if (setting.key.substr(0, dot) != section) {
      section = setting.key.substr(0, dot);
      text += (text.empty() ? "[" : "\n[") + std::string(section) + "]\n";
    }
    const Entry& own = entry(setting.key);
    text +=
        std::string(setting.key.substr(dot + 1)) + " = " + toml_text(setting, own.value) + "  # " + own.origin + "\n";
  }
  return text;
}

}  // namespace recalld::daemon
