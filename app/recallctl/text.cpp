#include "app/recallctl/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/clock.h"

namespace recalld::recallctl {
namespace {

// Kept free for the rate and the time left, so that the bar does not change its length.
constexpr int kRateColumns = 36;

size_t characters(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0) != 0x80; }));
}

}  // namespace

std::string bytes_text(int64_t bytes) {
  static constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits.at(unit));
}

std::string count_text(int64_t count) {
  std::string text = std::to_string(count);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > (count < 0 ? 1 : 0); at -= 3)
    text.insert(static_cast<size_t>(at), ",");
  return text;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string time_text(int64_t unix_ms) {
  std::string text = format_rfc3339(unix_ms).substr(0, 16);
  std::replace(text.begin(), text.end(), 'T', ' ');
  return text;
}

std::string table_text(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  widths.reserve(header.size());
  for (const std::string& cell : header) widths.push_back(characters(cell));
  for (const auto& row : rows)
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) widths[i] = std::max(widths[i], characters(row[i]));
  std::string text;
  const auto add_row = [&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      text += row[i];
      if (i + 1 < row.size()) text.append(widths[i] - characters(row[i]) + 2, ' ');
    }
    text += '\n';
  };
  add_row(header);
  for (const auto& row : rows) add_row(row);
  return text;
}

std::string progress_text(int64_t done, int64_t total, double per_second, int columns) {
  const double part = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 1.0;
  std::string tail =
      fmt::format(" {:3.0f} %  {}/{} tokens", std::floor(part * 100), count_text(done), count_text(total));
  const int room = std::min(columns - static_cast<int>(tail.size()) - kRateColumns, 40);
  if (per_second > 0)
    tail += fmt::format("  {:.0f} tokens/s  {} left", per_second,
                        duration_text(static_cast<double>(total - done) / per_second));
  std::string bar;
  if (room >= 5) {
    const auto filled = static_cast<size_t>(std::floor(part * room));
    bar = "[" + std::string(filled, '=') + std::string(static_cast<size_t>(room) - filled, ' ') + "]";
  }
  std::string line = bar + tail;
  if (columns > 0 && line.size() > static_cast<size_t>(columns)) line.resize(static_cast<size_t>(columns));
  return line;
}

std::string without_trailing_spaces(std::string text) {
  text.resize(text.find_last_not_of(' ') + 1);
  return text;
}

std::string printable(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const bool c1_control = byte == 0xC2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xA0;
    if (c1_control) {
      ++i;
      out += '?';
    } else {
      out += (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7F ? '?' : text[i];
    }
  }
  return out;
}

}  // namespace recalld::recallctl
