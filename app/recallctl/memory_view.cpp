#include "app/recallctl/memory_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "app/recallctl/api.h"
#include "app/recallctl/draw.h"
#include "app/recallctl/text.h"

namespace recalld::recallctl {

namespace json = boost::json;

namespace {

constexpr int kLeastTitle = 12;  // of an episode, before its dates and its bar are left out
constexpr int kLeastBar = 6;
constexpr int kLeastLongBar = 12;  // beside titles that are longer than the line
constexpr int kWide = 100;         // from here on with messages and segments
constexpr int kLongestBar = 60;

std::string segment_lines(const json::object& memory) {
  std::string text;
  if (const int64_t segments = int_of(memory, "segments"); segments > 0) {
    text += fmt::format("segments {}", count_text(segments));
    if (const int64_t pending = int_of(memory, "segments_pending"); pending > 0)
      text += fmt::format(", {} of them found by their words alone so far", count_text(pending));
    if (const std::string encoder = string_of(memory, "encoder"); !encoder.empty())
      text += fmt::format("; encoder {}", printable(encoder));
    text += "\n";
  }
  if (const std::string reading = string_of(memory, "reading"); !reading.empty())
    text += fmt::format("reading  {}\n", printable(reading));
  if (const int64_t budget = int_of(memory, "recall_tokens"); budget > 0)
    text += fmt::format("answers  from at most {} tokens\n", count_text(budget));
  return text;
}

struct Episode {
  std::string id, title, when, segments, turns, tokens, share;
  int64_t size = 0;
};

std::vector<Episode> episodes_of(const json::object& memory) {
  std::vector<Episode> episodes;
  int64_t total = 0;
  for (const json::value& value : array_of(memory, "episodes")) {
    if (!value.is_object()) continue;
    const json::object& entry = value.as_object();
    Episode episode;
    episode.id = fmt::format("#{}", int_of(entry, "id"));
    episode.title = string_of(entry, "title", "");
    if (episode.title.empty()) episode.title = "(no title)";
    episode.when = span_text(time_of(entry, "first"), time_of(entry, "last"));
    episode.segments = count_text(int_of(entry, "segments"));
    episode.turns = count_text(int_of(entry, "turns"));
    episode.size = int_of(entry, "tokens");
    episode.tokens = count_text(episode.size);
    total += episode.size;
    episodes.push_back(std::move(episode));
  }
  for (Episode& episode : episodes)
    episode.share =
        total > 0 ? fmt::format("{:.0f} %", 100.0 * static_cast<double>(episode.size) / static_cast<double>(total))
                  : "";
  return episodes;
}

int widest(const std::vector<Episode>& episodes, std::string Episode::*field, const std::string& head) {
  int columns = display_columns(head);
  for (const Episode& episode : episodes) columns = std::max(columns, display_columns(episode.*field));
  return columns;
}

struct Column {
  std::string head;
  std::string Episode::*field;
  int columns = 0;
};

}  // namespace

std::string memory_lines(const json::object& memory) {
  const int64_t f16 = int_of(memory, "bytes_f16");
  const int64_t disk = int_of(memory, "bytes_disk");
  const std::string saved =
      disk > 0 && f16 > 0 ? fmt::format(" ({:.1f}x smaller)", static_cast<double>(f16) / static_cast<double>(disk))
                          : "";
  std::string text = fmt::format(
      "state    {}\n"
      "turns    {}\n"
      "tokens   {} of {} in memory\n",
      string_of(memory, "state"), count_text(int_of(memory, "turns")), count_text(int_of(memory, "tokens_ready")),
      count_text(int_of(memory, "tokens_total")));
  text += segment_lines(memory);
  text += fmt::format(
      "pages    {}, codec {}\n"
      "bytes    {} on disk{}, {} when loaded, {} in RAM; {} in 16 bits\n",
      count_text(int_of(memory, "pages")), string_of(memory, "codec"), bytes_text(disk), saved,
      bytes_text(int_of(memory, "bytes_resident")), bytes_text(int_of(memory, "bytes_ram")), bytes_text(f16));
  if (const int64_t dropped = int_of(memory, "pages_dropped"); dropped > 0)
    text += fmt::format("dropped  {} pages were damaged and are made again from the transcript\n", count_text(dropped));
  return text;
}

std::string timeline_text(const Timeline& timeline, const Look& look) {
  const std::vector<Timeline::Row> rows = timeline.rows();
  if (rows.empty()) return "";
  int64_t most = 1;
  for (const Timeline::Row& row : rows) most = std::max(most, row.turns);
  const std::string head = "WHEN (UTC)";
  const auto label = static_cast<int>(std::max(rows.front().label.size(), head.size()));
  const auto count = std::max(static_cast<int>(count_text(most).size()), 8);
  const int room = std::min(look.columns - 1 - label - count - 4, kLongestBar);
  std::string text = cell(head, label, look) + "  " + right_cell("MESSAGES", count) + "\n";
  for (const Timeline::Row& row : rows) {
    text += cell(row.label, label, look) + "  " + right_cell(count_text(row.turns), count);
    const std::string bar = bar_text(static_cast<double>(row.turns) / static_cast<double>(most), room, look);
    text += (bar.empty() ? "" : "  " + bar) + "\n";
  }
  if (timeline.undated() > 0) text += fmt::format("and {} without a date\n", count_text(timeline.undated()));
  return text;
}

std::string episodes_text(const json::object& memory, const Look& look) {
  const std::vector<Episode> episodes = episodes_of(memory);
  if (episodes.empty()) return "";
  int64_t most = 1;
  for (const Episode& episode : episodes) most = std::max(most, episode.size);
  std::vector<Column> columns;
  if (look.columns >= kWide) columns = {{"SEGMENTS", &Episode::segments}, {"MESSAGES", &Episode::turns}};
  columns.push_back({"TOKENS", &Episode::tokens});
  columns.push_back({"SHARE", &Episode::share});
  const int ids = widest(episodes, &Episode::id, "");
  int room = look.columns - 1 - ids - 2;
  for (Column& column : columns) {
    column.columns = widest(episodes, column.field, column.head);
    room -= column.columns + 2;
  }
  int when = widest(episodes, &Episode::when, "WHEN (UTC)");
  if (room - when - 2 < kLeastTitle) when = 0;
  if (when > 0) room -= when + 2;
  const int titles = widest(episodes, &Episode::title, "EPISODE");
  int bar = std::clamp(std::max(room - 2 - titles, std::min(room / 4, kLeastLongBar)), kLeastBar, kLongestBar);
  if (room - bar - 2 < kLeastTitle) bar = 0;
  if (bar > 0) room -= bar + 2;
  const int title = std::max(std::min(titles, room), kLeastTitle);

  const auto line = [&](const Episode* episode) {
    std::string text = right_cell(episode != nullptr ? episode->id : "", ids) + "  " +
                       cell(episode != nullptr ? episode->title : "EPISODE", title, look);
    if (when > 0) text += "  " + cell(episode != nullptr ? episode->when : "WHEN (UTC)", when, look);
    for (const Column& column : columns)
      text += "  " + right_cell(episode != nullptr ? episode->*column.field : column.head, column.columns);
    if (episode != nullptr && bar > 0)
      text += "  " + bar_text(static_cast<double>(episode->size) / static_cast<double>(most), bar, look);
    return text + "\n";
  };
  std::string text = line(nullptr);
  for (const Episode& episode : episodes) text += line(&episode);
  return text;
}

}  // namespace recalld::recallctl
