#include "app/recallctl/timeline.h"

#include <fmt/format.h>

#include <array>

#include "base/clock.h"

namespace recalld::recallctl {
namespace {

constexpr int64_t kDayMs = 86'400'000;
// 1970-01-01 was a Thursday.
constexpr std::array kWeekdays{"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};

int64_t floor_divide(int64_t number, int64_t by) { return number / by - (number % by < 0 ? 1 : 0); }

struct Month {
  int year, month;
};

Month month_of(int64_t day) {
  const CivilDate date = civil_date(day * kDayMs);
  return {date.year, date.month};
}

}  // namespace

void Timeline::add(const std::optional<int64_t>& time_ms) {
  ++turns_;
  if (time_ms)
    ++days_[floor_divide(*time_ms, kDayMs)];
  else
    ++undated_;
}

std::vector<Timeline::Row> Timeline::rows() const {
  std::vector<Row> rows;
  if (days_.empty()) return rows;
  if (days_.size() <= kMostDays) {
    for (const auto& [day, turns] : days_)
      rows.push_back({fmt::format("{} {}", format_rfc3339(day * kDayMs).substr(0, 10),
                                  kWeekdays.at(static_cast<size_t>(day - floor_divide(day, 7) * 7))),
                      turns});
    return rows;
  }
  const Month first = month_of(days_.begin()->first), last = month_of(days_.rbegin()->first);
  const auto index_of = [&](const Month& month) {
    return static_cast<size_t>((month.year - first.year) * 12 + month.month - first.month);
  };
  const bool by_month = index_of(last) < kMostMonths;
  if (by_month) {
    for (Month at = first; index_of(at) <= index_of(last); at = {at.year + at.month / 12, at.month % 12 + 1})
      rows.push_back({fmt::format("{:04}-{:02}", at.year, at.month), 0});
  } else {
    for (int year = first.year; year <= last.year; ++year) rows.push_back({fmt::format("{:04}", year), 0});
  }
  for (const auto& [day, turns] : days_) {
    const Month month = month_of(day);
    rows[by_month ? index_of(month) : static_cast<size_t>(month.year - first.year)].turns += turns;
  }
  return rows;
}

}  // namespace recalld::recallctl
