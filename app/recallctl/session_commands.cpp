#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <thread>

#include "app/recallctl/commands.h"
#include "app/recallctl/follow.h"
#include "app/recallctl/memory_view.h"
#include "app/recallctl/terminal.h"
#include "app/recallctl/text.h"
#include "app/recallctl/timeline.h"
#include "base/clock.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

constexpr std::chrono::seconds kWatchInterval{1};
constexpr int64_t kTurnsAtOnce = 1000;

std::string minute_of(const std::string& rfc3339) {
  int64_t unix_ms = 0;
  return parse_rfc3339(rfc3339, &unix_ms) ? time_text(unix_ms) : "";
}

// Adds the turns that the timeline does not have yet.
Status add_turns(const Api& api, const std::string& session, Timeline* timeline) {
  for (int64_t next = timeline->turns(); next >= 0;) {
    RECALLD_ASSIGN_OR_RETURN(const TurnPage page, api.turns(session, next, kTurnsAtOnce));
    for (const json::value& turn : page.turns)
      timeline->add(turn.is_object() ? time_of(turn.as_object(), "time") : std::nullopt);
    next = page.next;
  }
  return ok_status();
}

void print_memory(const json::object& memory, const Timeline& timeline) {
  const Look look = stdout_look();
  std::string text = memory_lines(memory);
  for (const std::string& part : {timeline_text(timeline, look), episodes_text(memory, look)})
    if (!part.empty()) text += "\n" + part;
  std::printf("%s", text.c_str());
  std::fflush(stdout);
}

}  // namespace

void print_json(const json::value& value) {
  std::printf("%s\n", json::serialize(value).c_str());
  std::fflush(stdout);
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
  Timeline timeline;
  for (;;) {
    RECALLD_ASSIGN_OR_RETURN(const json::object memory, api.memory(session));
    if (json) {
      print_json(memory);
    } else {
      RECALLD_RETURN_IF_ERROR(add_turns(api, session, &timeline));
      if (watch && stdout_is_terminal()) std::printf("\033[H\033[J");
      print_memory(memory, timeline);
    }
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
