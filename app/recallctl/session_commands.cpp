#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include "app/recallctl/commands.h"
#include "app/recallctl/follow.h"
#include "app/recallctl/terminal.h"
#include "app/recallctl/text.h"
#include "base/clock.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kWatchInterval{1};

std::string minute_of(const std::string& rfc3339) {
  int64_t unix_ms = 0;
  return parse_rfc3339(rfc3339, &unix_ms) ? time_text(unix_ms) : "";
}

}  // namespace

void print_json(const json::value& value) {
  std::printf("%s\n", json::serialize(value).c_str());
  std::fflush(stdout);
}

std::string recall_line(const json::object& recall) {
  if (recall.empty()) return "no report";
  std::string line =
      fmt::format("{:.0f} ms to the first token; {} tokens from memory, {} read", number_of(recall, "first_token_ms"),
                  count_text(int_of(recall, "tokens_reused")), count_text(int_of(recall, "tokens_read")));
  if (const int64_t pending = int_of(recall, "tokens_pending"); pending > 0)
    line += fmt::format(", {} not in memory yet", count_text(pending));
  if (const int64_t bytes = int_of(recall, "view_bytes"); bytes > 0)
    line +=
        fmt::format("; {} of memory, {} in 16 bits", bytes_text(bytes), bytes_text(int_of(recall, "view_f16_bytes")));
  if (const double speed = number_of(recall, "decode_tokens_per_s"); speed > 0)
    line += fmt::format("; {:.0f} tokens/s", speed);
  return line;
}

std::string memory_lines(const json::object& memory) {
  const int64_t f16 = int_of(memory, "bytes_f16");
  const int64_t disk = int_of(memory, "bytes_disk");
  const std::string saved =
      disk > 0 && f16 > 0 ? fmt::format(" ({:.1f}x smaller)", static_cast<double>(f16) / static_cast<double>(disk))
                          : "";
  std::string text = fmt::format(
      "state    {}\n"
      "turns    {}\n"
      "tokens   {} of {} in memory\n"
      "pages    {}, codec {}\n"
      "bytes    {} on disk{}, {} in RAM; {} in 16 bits\n",
      string_of(memory, "state"), count_text(int_of(memory, "turns")), count_text(int_of(memory, "tokens_ready")),
      count_text(int_of(memory, "tokens_total")), count_text(int_of(memory, "pages")), string_of(memory, "codec"),
      bytes_text(disk), saved, bytes_text(int_of(memory, "bytes_ram")), bytes_text(f16));
  if (const int64_t dropped = int_of(memory, "pages_dropped"); dropped > 0)
    text += fmt::format("dropped  {} pages were damaged and are made again from the transcript\n", count_text(dropped));
  return text;
}

Status sessions_command(const Api& api, bool json) {
  RECALLD_ASSIGN_OR_RETURN(const json::array sessions, api.sessions());
  if (json) {
    print_json(sessions);
    return ok_status();
  }
  if (sessions.empty()) {
    std::printf("no sessions yet; 'recallctl import FILE' or 'recallctl chat' makes one\n");
    return ok_status();
  }
  std::vector<std::vector<std::string>> rows;
  for (const json::value& value : sessions) {
    if (!value.is_object()) continue;
    const json::object& session = value.as_object();
    rows.push_back({string_of(session, "id"), count_text(int_of(session, "turn_count")), string_of(session, "style"),
                    minute_of(string_of(session, "updated_at")), printable(string_of(session, "title"))});
  }
  std::printf("%s", table_text({"SESSION", "TURNS", "STYLE", "LAST CHANGE (UTC)", "TITLE"}, rows).c_str());
  return ok_status();
}

Status memory_command(const Api& api, const std::string& session, bool watch, bool json) {
  for (;;) {
    RECALLD_ASSIGN_OR_RETURN(const json::object memory, api.memory(session));
    if (watch && !json && stdout_is_terminal()) std::printf("\033[H\033[J");
    if (json)
      print_json(memory);
    else
      std::printf("%s", memory_lines(memory).c_str());
    std::fflush(stdout);
    if (!watch) return ok_status();
    std::this_thread::sleep_for(kWatchInterval);
  }
}

Status wait_command(const Api& api, const std::string& session, bool json) {
  RECALLD_ASSIGN_OR_RETURN(const json::object memory, follow_reading(api, session, json));
  if (json)
    print_json(memory);
  else
    std::printf("%s", memory_lines(memory).c_str());
  return ok_status();
}

Status remove_command(const Api& api, const std::string& session, bool json) {
  RECALLD_ASSIGN_OR_RETURN(const json::object result, api.remove_session(session));
  if (json)
    print_json(result);
  else
    std::printf("session %s and its memory are deleted\n", session.c_str());
  return ok_status();
}

}  // namespace recalld::recallctl
