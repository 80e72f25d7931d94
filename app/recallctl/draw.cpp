#include "app/recallctl/draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cwchar>

#include "app/recallctl/text.h"
#include "base/clock.h"

namespace recalld::recallctl {
namespace {

// Eighths of a column, from one to eight.
constexpr std::array kBlocks{"\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589", "\u2588"};

// Bytes of the character that begins here; one for a byte that begins none.
size_t character_bytes(const std::string& text, size_t at) {
  size_t end = at + 1;
  while (end < text.size() && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) ++end;
  return end - at;
}

int character_columns(const std::string& text, size_t at, size_t bytes) {
  if (bytes == 1) return 1;
  uint32_t code = static_cast<uint8_t>(text[at]) & (0x7FU >> bytes);
  for (size_t i = 1; i < bytes; ++i) code = code << 6U | (static_cast<uint8_t>(text[at + i]) & 0x3FU);
  const int columns = wcwidth(static_cast<wchar_t>(code));
  return columns < 0 ? 1 : columns;
}

std::string one_line(const std::string& text, const Look& look) {
  std::string line = printable(text);
  std::replace_if(
      line.begin(), line.end(), [](char byte) { return byte == '\n' || byte == '\t'; }, ' ');
  if (look.utf8) return line;
  std::string ascii;
  for (size_t at = 0; at < line.size();) {
    const size_t bytes = character_bytes(line, at);
    ascii += bytes == 1 && static_cast<uint8_t>(line[at]) < 0x80 ? line[at] : '?';
    at += bytes;
  }
  return ascii;
}

struct Date {
  std::string year, day_month;
};

Date date_of(int64_t unix_ms) {
  const CivilDate date = civil_date(unix_ms);
  return {fmt::format("{:04}", date.year), fmt::format("{} {}", date.day, month_name(date.month).substr(0, 3))};
}

}  // namespace

int display_columns(const std::string& text) {
  int columns = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = character_bytes(text, at);
    columns += character_columns(text, at, bytes);
    at += bytes;
  }
  return columns;
}

std::string cell(const std::string& text, int columns, const Look& look) {
  std::string line = one_line(text, look);
  int used = display_columns(line);
  if (used > columns) {
    const std::string dots = look.blocks ? "\u2026" : "..";
    const int room = std::max(columns - (look.blocks ? 1 : 2), 0);
    size_t at = 0;
    used = 0;
    while (at < line.size()) {
      const size_t bytes = character_bytes(line, at);
      const int width = character_columns(line, at, bytes);
      if (used + width > room) break;
      used += width;
      at += bytes;
    }
    line.resize(at);
    if (used < columns) {
      line += dots;
      used += look.blocks ? 1 : 2;
    }
  }
  if (used < columns) line.append(static_cast<size_t>(columns - used), ' ');
  return line;
}

std::string right_cell(const std::string& text, int columns) {
  const int used = display_columns(text);
  return (used < columns ? std::string(static_cast<size_t>(columns - used), ' ') : "") + text;
}

std::string bar_text(double part, int columns, const Look& look) {
  if (columns <= 0 || !(part > 0)) return "";
  const double length = std::min(part, 1.0) * columns;
  if (!look.blocks) return std::string(static_cast<size_t>(std::max(std::llround(length), 1LL)), '#');
  const auto eighths = static_cast<size_t>(std::max(std::llround(length * 8), 1LL));
  std::string bar;
  for (size_t i = 0; i < eighths / 8; ++i) bar += kBlocks.back();
  if (eighths % 8 != 0) bar += kBlocks.at(eighths % 8 - 1);
  return bar;
}

std::string span_text(const std::optional<int64_t>& first_ms, const std::optional<int64_t>& last_ms) {
  const std::optional<int64_t> from = first_ms ? first_ms : last_ms;
  if (!from) return "no date";
  const Date first = date_of(*from), last = date_of(last_ms.value_or(*from));
  if (first.year != last.year)
    return fmt::format("{} {} - {} {}", first.day_month, first.year, last.day_month, last.year);
  if (first.day_month != last.day_month) return fmt::format("{} - {} {}", first.day_month, last.day_month, last.year);
  return fmt::format("{} {}", first.day_month, first.year);
}

}  // namespace recalld::recallctl
