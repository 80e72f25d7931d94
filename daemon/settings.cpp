#include "daemon/settings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>
#include <utility>
#include <vector>

namespace recalld::daemon {
namespace {

constexpr int64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB, kPiB = kMiB * kGiB;
constexpr int64_t kSecond = 1000, kHour = 3600 * kSecond;

using enum SettingType;

constexpr auto kSettings = std::to_array<Setting>({
    {.key = "server.listen",
     .type = kTextList,
     .fallback = "127.0.0.1:8642",
     .short_flag = "listen",
     .zero_means = "no TCP at all",
     .help = "Addresses to listen on, each HOST:PORT ([::1]:8642 for IPv6). Anything but loopback needs "
             "server.api_keys_file. Port 0 takes any free port."},
    {.key = "server.unix_socket",
     .type = kPath,
     .short_flag = "unix-socket",
     .zero_means = "none",
     .help = "A unix socket to listen on as well, made with mode 0660. Who may open it is the principal \"local\"."},
    {.key = "server.api_keys_file",
     .type = kPath,
     .reloadable = true,
     .zero_means = "no keys, loopback only",
     .help =
         "File of API keys, one `name key [admin]` a line, the key as text or as sha256:HEX. Others must not be able "
         "to read it. Read again on SIGHUP; the path itself is not."},
    {.key = "server.allowed_hosts",
     .type = kTextList,
     .zero_means = "none",
     .help = "Names accepted in the Host header on loopback besides localhost and loopback addresses; for a reverse "
             "proxy that passes the public name."},
    {.key = "server.allowed_origins",
     .type = kTextList,
     .zero_means = "none",
     .help = "Origins of web pages that may call the API, each like https://chat.example."},
    {.key = "server.io_threads",
     .type = kInteger,
     .fallback = "2",
     .least = 1,
     .most = 64,
     .help = "Threads that talk to clients."},
    {.key = "server.max_body_bytes",
     .type = kSize,
     .fallback = "32MiB",
     .least = kKiB,
     .most = kGiB,
     .help = "Largest request body and WebSocket message."},
    {.key = "server.max_header_bytes",
     .type = kSize,
     .fallback = "16KiB",
     .least = kKiB,
     .most = kMiB,
     .help = "Largest request line and headers, together."},
    {.key = "server.header_timeout",
     .type = kDuration,
     .fallback = "10s",
     .least = 10,
     .most = kHour,
     .help = "Time for a request's headers, from its first byte; also for the first byte of a new connection."},
    {.key = "server.body_timeout",
     .type = kDuration,
     .fallback = "30s",
     .least = 10,
     .most = kHour,
     .help = "Time without a byte of the body."},
    {.key = "server.idle_timeout",
     .type = kDuration,
     .fallback = "75s",
     .least = 10,
     .most = kHour,
     .help = "How long a connection may stay open between requests."},
    {.key = "server.write_timeout",
     .type = kDuration,
     .fallback = "30s",
     .least = 10,
     .most = kHour,
     .help = "Time without the client taking a byte; then the connection is closed and its generation cancelled."},
    {.key = "server.max_connections",
     .type = kInteger,
     .fallback = "256",
     .least = 1,
     .most = 65536,
     .help = "Open connections; more are answered 503 and closed."},
    {.key = "server.max_queued_requests",
     .type = kInteger,
     .fallback = "64",
     .least = 1,
     .most = 100000,
     .help = "Chat requests running or waiting; more are answered 429."},
    {.key = "server.max_active_answers",
     .type = kInteger,
     .fallback = "4",
     .least = 1,
     .most = 64,
     .help = "Answers written at the same time; the others wait."},
    {.key = "server.max_stream_buffer_bytes",
     .type = kSize,
     .fallback = "256KiB",
     .least = 4 * kKiB,
     .most = kGiB,
     .help = "Text that may wait for one slow reader of a stream before it is cut off."},
    {.key = "server.keepalive_interval",
     .type = kDuration,
     .fallback = "15s",
     .least = 10,
     .most = kHour,
     .help = "A comment is sent on a stream after this long without text."},
    {.key = "server.ws_ping_interval",
     .type = kDuration,
     .fallback = "20s",
     .least = 10,
     .most = kHour,
     .help = "Time between WebSocket pings; a peer silent for two of them is dropped."},
    {.key = "server.ws_max_buffer_bytes",
     .type = kSize,
     .fallback = "256KiB",
     .least = 4 * kKiB,
     .most = kGiB,
     .help = "What may wait for one slow WebSocket reader before it is closed with 1008."},
    {.key = "server.drain_timeout",
     .type = kDuration,
     .fallback = "20s",
     .least = 0,
     .most = kHour,
     .help = "On SIGTERM: time for running answers to finish before they are cut."},
    {.key = "model.path", .type = kPath, .short_flag = "model", .help = "The GGUF file of the model. Required."},
    {.key = "model.sha256",
     .type = kText,
     .zero_means = "not checked",
     .help = "SHA-256 the model file must have, 64 hexadecimal digits."},
    {.key = "model.threads",
     .type = kInteger,
     .fallback = "0",
     .least = 0,
     .most = 1024,
     .short_flag = "threads",
     .zero_means = "cores less one",
     .help = "Threads the model computes with."},
    {.key = "model.context",
     .type = kInteger,
     .fallback = "0",
     .least = 0,
     .most = 16 * kMiB,
     .zero_means = "the model's own",
     .help = "Window in tokens."},
    {.key = "memory.data_dir",
     .type = kPath,
     .short_flag = "data-dir",
     .zero_means = "$STATE_DIRECTORY, else $XDG_DATA_HOME/recalld, else ~/.local/share/recalld",
     .help = "Where transcripts and memory are kept."},
    {.key = "memory.encoder",
     .type = kPath,
     .short_flag = "encoder",
     .zero_means = "the model's own states, which find less",
     .help = "The GGUF file of the text encoder that segments and questions are compared by, such as "
             "all-MiniLM-L6-v2.gguf. Exchanged, segments are embedded anew in the background."},
    {.key = "memory.codec",
     .type = kText,
     .fallback = "trellis-4",
     .help = "How remembered keys and values are coded: none16, trellis-4, -3, -2, -k4v3, -k4v2 or "
             "-k3v2, turboquant- and the same; and with a calibration of the model (recallctl calibrate) calibrated-4, "
             "-3, -2.5, -2, "
             "turboquant-3.5, -2.5 or oscar-2."},
    {.key = "memory.near_codec",
     .type = kText,
     .zero_means = "none16 beside codecs with keys of 4 bits or more, else trellis-4",
     .help = "How the newest tokens are coded until they are memory.near_tokens old: none16 or one of trellis or "
             "turboquant. What "
             "is read next looks at them most."},
    {.key = "memory.near_tokens",
     .type = kInteger,
     .fallback = "0",
     .least = 0,
     .most = kMiB,
     .zero_means = "memory.recent_tokens where they are in 16 bits, else 384",
     .help = "How many of the newest tokens memory.near_codec holds."},
    {.key = "memory.at_rest",
     .type = kChoice,
     .fallback = "exact",
     .choices = "exact|archive-4|archive-3|archive-2",
     .help =
         "How pages of memory.codec lie on the disk: to the bit, or as archives with the errors of 4, 3 and 2 bits, "
         "which take about 3.3, 2.4 and 1.6 bits per number and some milliseconds of processor time per token when "
         "they are made, half of one when they are loaded. Archives need none16 or a codec of 4 bits."},
    {.key = "memory.calibration",
     .type = kPath,
     .zero_means = "the model's own in calibrations/ of memory.data_dir, where recallctl calibrate puts it",
     .help = "The file of the model's calibration, for codecs that need one."},
    {.key = "memory.block_tokens",
     .type = kInteger,
     .fallback = "128",
     .least = 16,
     .most = 65536,
     .help = "Tokens read at once, to the next end of a segment. Those of a block that is not full lie in 16 bits."},
    {.key = "memory.page_tokens",
     .type = kInteger,
     .fallback = "256",
     .least = 16,
     .most = 256,
     .help = "Most tokens of one page of memory. A segment begins a page of its own."},
    {.key = "memory.segment_turns",
     .type = kInteger,
     .fallback = "1",
     .least = 1,
     .most = 64,
     .help = "Turns of a segment, the unit that is found and shown to a question. A gap of an hour ends one early."},
    {.key = "memory.segment_tokens",
     .type = kInteger,
     .fallback = "256",
     .least = 16,
     .most = 4096,
     .help = "Most tokens of a segment; a longer turn is cut into several."},
    {.key = "memory.reading",
     .type = kChoice,
     .fallback = "recent",
     .choices = "recent|whole|sinks",
     .help = "What a block sees of the past while it is read: the newest memory.reading_view_tokens, the whole past "
             "while the window has room, or only the first memory.pinned_tokens."},
    {.key = "memory.reading_view_tokens",
     .type = kInteger,
     .fallback = "0",
     .least = 0,
     .most = 16 * kMiB,
     .zero_means = "what the window leaves",
     .help = "Most remembered tokens a block sees while it is read; at least two blocks."},
    {.key = "memory.recent_tokens",
     .type = kInteger,
     .fallback = "128",
     .least = 0,
     .most = kMiB,
     .help = "Newest tokens, in every view."},
    {.key = "memory.pinned_tokens",
     .type = kInteger,
     .fallback = "16",
     .least = 0,
     .most = 255,
     .help = "First tokens, kept in 16 bits and in every view; fewer than memory.page_tokens."},
    {.key = "memory.recall_tokens",
     .type = kInteger,
     .fallback = "1024",
     .least = 0,
     .most = 16 * kMiB,
     .zero_means = "everything that fits the window",
     .help = "Tokens of the segments that a question chooses from a history longer than this and "
             "memory.recent_tokens; it attends to those and the newest alone."},
    {.key = "memory.view_order",
     .type = kChoice,
     .fallback = "best_last",
     .choices = "by_time|best_last|best_first",
     .help = "How the chosen segments lie in a question's view: as they were said, or the best one last or first."},
    {.key = "memory.view_tokens",
     .type = kInteger,
     .fallback = "0",
     .least = 0,
     .most = 16 * kMiB,
     .zero_means = "what the window leaves",
     .help = "Most remembered tokens a question may attend to."},
    {.key = "memory.answer_reserve_tokens",
     .type = kInteger,
     .fallback = "1024",
     .least = 16,
     .most = kMiB,
     .help = "Room kept in the window for a question and its answer."},
    {.key = "memory.catch_up_tokens",
     .type = kInteger,
     .fallback = "1024",
     .least = 0,
     .most = kMiB,
     .help = "Unread history a question waits for; of more, the newest part is read as text with the question."},
    {.key = "memory.ram_bytes",
     .type = kSize,
     .fallback = "0",
     .least = 0,
     .most = kPiB,
     .zero_means = "no limit",
     .help = "Hard limit of remembered keys and values in memory."},
    {.key = "memory.disk_bytes",
     .type = kSize,
     .fallback = "0",
     .least = 0,
     .most = kPiB,
     .zero_means = "no limit",
     .help = "Hard limit of kv.db. Transcripts are never limited by it."},
    {.key = "log.level",
     .type = kChoice,
     .fallback = "info",
     .choices = "debug|info|warning|error",
     .reloadable = true,
     .short_flag = "log-level",
     .help =
         "The least important events that are logged. Messages of conversations are never logged at info or above."},
    {.key = "log.format",
     .type = kChoice,
     .fallback = "text",
     .choices = "text|json",
     .help = "One line an event, as text or as a JSON object."},
});

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

std::string_view last_name(std::string_view key) { return key.substr(key.rfind('.') + 1); }

std::string default_text(const Setting& setting) {
  if (setting.fallback.empty()) return "";
  return "`" + std::string(setting.fallback) + "`";
}

}  // namespace

std::span<const Setting> all_settings() { return kSettings; }

const Setting* find_setting(std::string_view key) {
  const auto found = std::ranges::find(kSettings, key, &Setting::key);
  return found == kSettings.end() ? nullptr : &*found;
}

std::string_view nearest_setting(std::string_view key) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(3, key.size() / 3) + 1;
  for (const Setting& setting : kSettings) {
    // The right name in the wrong section is as near as a small misspelling.
    const size_t in_other_section = edit_distance(last_name(key), last_name(setting.key)) + 1;
    const size_t distance = std::min(edit_distance(key, setting.key), in_other_section);
    if (distance < best_distance) {
      best = setting.key;
      best_distance = distance;
    }
  }
  return best;
}

std::string environment_name(std::string_view key) {
  std::string name = "RECALLD_";
  for (const char c : key) name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

std::string format_size(int64_t bytes) {
  static constexpr std::array<std::string_view, 6> kUnits = {"", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (unit + 1 < kUnits.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return std::to_string(bytes) + std::string(kUnits[unit]);
}

std::string format_duration(int64_t ms) {
  if (ms % kSecond != 0) return std::to_string(ms) + "ms";
  const int64_t seconds = ms / kSecond;
  if (seconds != 0 && seconds % 3600 == 0) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds) + "s";
}

std::string allowed_values(const Setting& setting) {
  switch (setting.type) {
    case kChoice: {
      std::string text;
      for (const char c : setting.choices) text += c == '|' ? std::string(", ") : std::string(1, c);
      return text;
    }
    case kInteger:
      return std::to_string(setting.least) + " to " + std::to_string(setting.most);
    case kSize:
      return format_size(setting.least) + " to " + format_size(setting.most);
    case kDuration:
      return format_duration(setting.least) + " to " + format_duration(setting.most);
    default:
      return "";
  }
}

std::string settings_document() {
  std::string text =
      "# Configuration\n\n"
      "<!-- Made by `recalld --print-settings-doc` from daemon/settings.cpp; edit that. -->\n\n"
      "A setting is taken from the first of: a flag (`--server.listen=…`), an environment variable\n"
      "(`RECALLD_SERVER_LISTEN=…`), the configuration file, the default.\n\n"
      "The file is TOML. `--config FILE` names it; without, `~/.config/recalld/config.toml` is read, else\n"
      "`/etc/recalld/config.toml`, if there is one. An unknown key or a value out of range is an error that names the\n"
      "file, the line and what is allowed.\n\n"
      "    recalld --check-config     reads everything, checks it, starts nothing; exit code 78 on an error\n"
      "    recalld --print-config     prints the settings in force and where each came from\n\n"
      "Sizes are bytes, or strings such as `\"512KiB\"`, `\"2GB\"` (KB, MB, GB, TB count in thousands; KiB, MiB, GiB, "
      "TiB\n"
      "in 1024s). Durations are seconds, or strings such as `\"250ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`. Lists are "
      "arrays of\n"
      "strings; in flags and the environment they are separated by commas. On SIGHUP the settings marked *reload* are\n"
      "read again; the others need a restart. No secret belongs into the file: API keys have their own.\n";
  std::string_view section;
  for (const Setting& setting : kSettings) {
    const std::string_view own = setting.key.substr(0, setting.key.find('.'));
    if (own != section) {
      section = own;
      text += "\n## [" + std::string(section) + "]\n\n| key | default | allowed | |\n|---|---|---|---|\n";
    }
    std::string allowed = allowed_values(setting);
    if (!setting.zero_means.empty()) {
      const bool number = setting.type == kInteger || setting.type == kSize;
      if (!allowed.empty()) allowed += "; ";
      allowed += std::string(number ? "0" : "empty") + ": " + std::string(setting.zero_means);
    }
    text += "| `" + std::string(last_name(setting.key)) + "` | " + default_text(setting) + " | " + allowed + " | " +
            std::string(setting.help) + (setting.reloadable ? " *reload*" : "") +
            (setting.short_flag.empty() ? "" : " Also `--" + std::string(setting.short_flag) + "`.") + " |\n";
  }
  text +=
      "\n## Exit codes\n\n"
      "| code | |\n|---|---|\n"
      "| 0 | stopped as asked |\n"
      "| 1 | could not start or go on: the port is taken, the model or a store cannot be opened, … |\n"
      "| 78 | the configuration is wrong; starting again will not help |\n\n"
      "## Signals\n\n"
      "| signal | |\n|---|---|\n"
      "| SIGTERM, SIGINT | stop: no new requests, running answers finish within `server.drain_timeout`; a second one "
      "stops "
      "at once |\n"
      "| SIGHUP | read API keys and the settings marked *reload* again |\n";
  return text;
}

}  // namespace recalld::daemon
