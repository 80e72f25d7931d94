#include "retrieval/time_expression.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "retrieval/words.h"

namespace recalld::retrieval {
namespace {

using std::chrono::days;
using std::chrono::months;
using std::chrono::sys_days;
using std::chrono::year_month;
using std::chrono::years;

constexpr size_t kMostIntervals = 64;
constexpr int64_t kDayMs = 86'400'000;

constexpr std::array<std::string_view, 12> kMonths = {"january",   "february", "march",    "april",
                                                      "may",       "june",     "july",     "august",
                                                      "september", "october",  "november", "december"};
constexpr std::array<std::string_view, 7> kWeekdays = {"monday", "tuesday",  "wednesday", "thursday",
                                                       "friday", "saturday", "sunday"};
constexpr std::array<std::string_view, 13> kNumbers = {"zero",  "one",   "two",  "three", "four",   "five",  "six",
                                                       "seven", "eight", "nine", "ten",   "eleven", "twelve"};

struct Days {
  sys_days first, end;
};

int64_t to_ms(sys_days day) { return day.time_since_epoch().count() * kDayMs; }
sys_days day_of(int64_t ms) { return sys_days(days(ms >= 0 ? ms / kDayMs : -((kDayMs - 1 - ms) / kDayMs))); }
int year_of(sys_days day) { return static_cast<int>(std::chrono::year_month_day(day).year()); }

sys_days month_start(int year, int month) {
  return sys_days(std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month)) / 1);
}
Days whole_month(int year, int month) {
  const year_month first = std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month));
  return {sys_days(first / 1), sys_days((first + months(1)) / 1)};
}
Days whole_year(int year) { return {month_start(year, 1), month_start(year + 1, 1)}; }
sys_days monday_of(sys_days day) { return day - days(static_cast<int>(std::chrono::weekday(day).iso_encoding()) - 1); }
// month: of the season's first day.
Days season(int year, int month) {
  const year_month first = std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month));
  return {sys_days(first / 1), sys_days((first + months(3)) / 1)};
}

template <size_t N>
int index_in(const std::array<std::string_view, N>& names, std::string_view word, size_t short_form) {
  for (size_t i = 0; i < N; ++i)
    if (word == names[i] || (word.size() >= 3 && word.size() <= short_form && names[i].starts_with(word)))
      return static_cast<int>(i);
  return -1;
}
// 1 to 12, or 0. "may", "jan", "sept".
int month_number(std::string_view word) {
  if (word == "mar" || word == "sat" || word == "sun") return 0;
  return index_in(kMonths, word, 4) + 1;
}
int weekday_index(std::string_view word) { return index_in(kWeekdays, word, 0); }
// The month in which a season begins, or 0.
int season_month(std::string_view word) {
  if (word == "spring") return 3;
  if (word == "summer") return 6;
  if (word == "autumn" || word == "fall") return 9;
  return word == "winter" ? 12 : 0;
}

// Digits, with an ordinal's ending when `ordinal`; -1 for anything else.
int digits(std::string_view word, bool ordinal) {
  if (ordinal && word.size() > 2) {
    const std::string_view ending = word.substr(word.size() - 2);
    if (ending == "st" || ending == "nd" || ending == "rd" || ending == "th") word.remove_suffix(2);
  }
  if (word.empty() || word.size() > 4) return -1;
  int value = 0;
  for (const char c : word) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}
// "a", "three", "12", "few", "couple"; -1 for anything else.
int count_word(std::string_view word) {
  if (word == "a" || word == "an") return 1;
  if (word == "couple") return 2;
  if (word == "few" || word == "several") return 3;
  const auto named = std::find(kNumbers.begin(), kNumbers.end(), word);
  if (named != kNumbers.end()) return static_cast<int>(named - kNumbers.begin());
  return digits(word, false);
}

enum class Unit { kNone, kDay, kWeek, kWeekend, kMonth, kYear };
Unit unit_of(std::string_view word) {
  if (word.ends_with('s')) word.remove_suffix(1);
  if (word == "day") return Unit::kDay;
  if (word == "week") return Unit::kWeek;
  if (word == "weekend") return Unit::kWeekend;
  if (word == "month") return Unit::kMonth;
  return word == "year" ? Unit::kYear : Unit::kNone;
}

// The unit that lies `steps` after the one which `day` is in.
Days shifted(Unit unit, sys_days day, int steps) {
  const std::chrono::year_month_day date(day);
  switch (unit) {
    case Unit::kDay:
      return {day + days(steps), day + days(steps + 1)};
    case Unit::kWeek:
      return {monday_of(day) + days(7 * steps), monday_of(day) + days(7 * (steps + 1))};
    case Unit::kWeekend: {
      const sys_days saturday = monday_of(day) + days(5 + 7 * steps);
      return {saturday, saturday + days(2)};
    }
    case Unit::kMonth: {
      const year_month month = date.year() / date.month() + months(steps);
      return whole_month(static_cast<int>(month.year()), static_cast<int>(static_cast<unsigned>(month.month())));
    }
    default:
      return whole_year(static_cast<int>(date.year()) + steps);
  }
}

class Reader {
 public:
  Reader(std::string_view text, const TimeContext& context) : words_(split_words(text)), context_(context) {
    if (context.asked_ms) asked_ = day_of(*context.asked_ms);
  }

  std::vector<TimeInterval> read() {
    size_t at = 0;
    while (at < words_.size()) {
      // The length of what was understood from here; a longer reading comes before a shorter one.
      size_t length = iso_date(at);
      if (length == 0) length = calendar_day(at);
      if (length == 0) length = month_or_season(at);
      if (length == 0) length = year_alone(at);
      if (length == 0) length = ago(at);
      if (length == 0) length = span_of(at);
      if (length == 0) length = next_to(at);
      if (length == 0) length = near_day(at);
      at += std::max<size_t>(length, 1);
    }
    return std::move(found_);
  }

 private:
  std::string_view word(size_t at) const { return at < words_.size() ? std::string_view(words_[at].lower) : ""; }
  int year_at(size_t at) const {
    const int year = digits(word(at), false);
    return word(at).size() == 4 && year >= 1900 && year < 2200 ? year : 0;
  }
  bool is_time_name(size_t at) const {
    const std::string_view name = word(at);
    if (name != "may" && name != "march" && name != "fall") return true;
    static constexpr std::array<std::string_view, 12> kBefore = {"in",   "on",    "of",   "since", "last", "this",
                                                                 "next", "until", "till", "early", "late", "during"};
    const bool led = at > 0 && (std::find(kBefore.begin(), kBefore.end(), word(at - 1)) != kBefore.end() ||
                                digits(word(at - 1), true) >= 0);
    return led || digits(word(at + 1), true) >= 0 || (words_[at].capital && !words_[at].starts_text);
  }

  size_t take(size_t at, size_t length, Days interval) {
    if (found_.size() >= kMostIntervals) return length;
    std::string expression;
    for (size_t i = at; i < at + length && i < words_.size(); ++i) expression += (i > at ? " " : "") + words_[i].lower;
    found_.push_back({std::move(expression), to_ms(interval.first), to_ms(interval.end)});
    return length;
  }

  // One interval for each year that the history touches; without a history, the year of the question.
  template <typename MakeInterval>
  size_t take_each_year(size_t at, size_t length, MakeInterval make) {
    int first = 0, last = -1;
    if (context_.history_first_ms && context_.history_last_ms) {
      first = year_of(day_of(*context_.history_first_ms)) - 1;
      last = std::min(year_of(day_of(*context_.history_last_ms)), first + 32);
    } else if (asked_) {
      first = last = year_of(*asked_);
    }
    for (int year = first; year <= last; ++year) take(at, length, make(year));
    return length;
  }

  size_t iso_date(size_t at) {
    const int year = year_at(at), month = digits(word(at + 1), false), day = digits(word(at + 2), false);
    if (year == 0 || word(at + 1).size() != 2 || word(at + 2).size() != 2) return 0;
    return take_day(at, 3, year, month, day);
  }

  size_t take_day(size_t at, size_t length, int year, int month, int day) {
    if (month < 1 || month > 12 || day < 1) return 0;
    const std::chrono::year_month_day date = std::chrono::year(year) /
                                             std::chrono::month(static_cast<unsigned>(month)) /
                                             std::chrono::day(static_cast<unsigned>(day));
    if (!date.ok()) return 0;
    return take(at, length, {sys_days(date), sys_days(date) + days(1)});
  }

  // "7 May 2023", "the 7th of May", "May 7, 2023".
  size_t calendar_day(size_t at) {
    int day = digits(word(at), true), month = 0;
    size_t length = 1;
    if (day >= 1 && day <= 31) {
      if (word(at + length) == "of") ++length;
      month = month_number(word(at + length));
    } else {
      month = month_number(word(at));
      day = digits(word(at + 1), true);
    }
    if (month == 0 || day < 1 || day > 31) return 0;
    ++length;
    if (word(at + length) == "of") ++length;
    if (const int year = year_at(at + length)) return take_day(at, length + 1, year, month, day);
    if (word(at + length - 1) == "of") --length;
    const size_t before = found_.size();
    take_each_year(at, length, [&](int year) {
      const Days all = whole_month(year, month);
      const sys_days first = std::min(all.first + days(day - 1), all.end - days(1));
      return Days{first, first + days(1)};
    });
    return found_.size() > before ? length : 0;
  }

  // "May 2023", "summer of 2022", "in June".
  size_t month_or_season(size_t at) {
    const int month = month_number(word(at)), begin = season_month(word(at));
    if ((month == 0 && begin == 0) || !is_time_name(at)) return 0;
    const auto interval = [&](int year) { return month != 0 ? whole_month(year, month) : season(year, begin); };
    size_t length = 1;
    if (word(at + length) == "of") ++length;
    if (const int year = year_at(at + length)) return take(at, length + 1, interval(year));
    return take_each_year(at, 1, interval);
  }

  size_t year_alone(size_t at) {
    const int year = year_at(at);
    return year == 0 ? 0 : take(at, 1, whole_year(year));
  }

  // "two months ago", "a couple of weeks ago".
  size_t ago(size_t at) {
    const int count = count_word(word(at));
    if (count < 0 || count > 1000) return 0;
    size_t length = 1;
    if (word(at) == "a" && count_word(word(at + 1)) > 1) return 0;
    if (word(at + length) == "of") ++length;
    const Unit unit = unit_of(word(at + length));
    if (unit == Unit::kNone || word(at + length + 1) != "ago") return 0;
    length += 2;
    return asked_ ? take(at, length, shifted(unit, *asked_, -count)) : length;
  }

  // "the past two weeks", "last few days".
  size_t span_of(size_t at) {
    if (word(at) != "last" && word(at) != "past") return 0;
    const int count = count_word(word(at + 1));
    if (count < 0 || count > 1000) return 0;
    size_t length = 2;
    if (word(at + length) == "of") ++length;
    const Unit unit = unit_of(word(at + length));
    if (unit == Unit::kNone) return 0;
    ++length;
    return asked_ ? take(at, length, {shifted(unit, *asked_, -count).first, *asked_ + days(1)}) : length;
  }

  // "last week", "this month", "next Friday", "last May", "last summer".
  size_t next_to(size_t at) {
    int steps = 0;
    if (word(at) == "last" || word(at) == "past" || word(at) == "previous")
      steps = -1;
    else if (word(at) == "next")
      steps = 1;
    else if (word(at) != "this")
      return 0;
    const Unit unit = unit_of(word(at + 1));
    const int weekday = weekday_index(word(at + 1)), month = month_number(word(at + 1)),
              begin = season_month(word(at + 1));
    if (unit == Unit::kNone && weekday < 0 && month == 0 && begin == 0) return 0;
    if (!asked_) return unit == Unit::kNone && weekday < 0 ? 0 : 2;
    if (unit != Unit::kNone) return take(at, 2, shifted(unit, *asked_, steps));
    if (weekday >= 0) return take(at, 2, weekday_near(weekday, steps));
    // The newest one that has begun, the one after it, or this year's.
    const auto interval = [&](int year) { return month != 0 ? whole_month(year, month) : season(year, begin); };
    int year = year_of(*asked_);
    if (steps < 0 && interval(year).end > *asked_) --year;
    if (steps > 0 && interval(year).first <= *asked_) ++year;
    return take(at, 2, interval(year));
  }

  Days weekday_near(int weekday, int steps) const {
    sys_days day = monday_of(*asked_) + days(weekday);
    if (steps < 0 && day >= *asked_) day -= days(7);
    if (steps > 0 && day <= *asked_) day += days(7);
    return {day, day + days(1)};
  }

  // "yesterday", "today", "on Friday".
  size_t near_day(size_t at) {
    const std::string_view name = word(at);
    int steps = 0;
    if (name == "yesterday")
      steps = -1;
    else if (name == "tomorrow")
      steps = 1;
    else if (name != "today" && name != "tonight") {
      const int weekday = weekday_index(name);
      if (weekday < 0) return 0;
      return asked_ ? take(at, 1, weekday_near(weekday, -1)) : 1;
    }
    return asked_ ? take(at, 1, shifted(Unit::kDay, *asked_, steps)) : 1;
  }

  std::vector<Word> words_;
  TimeContext context_;
  std::optional<sys_days> asked_;
  std::vector<TimeInterval> found_;
};

}  // namespace

std::vector<TimeInterval> find_times(std::string_view text, const TimeContext& context) {
  return Reader(text, context).read();
}

double time_fit(std::span<const TimeInterval> intervals, std::optional<int64_t> first_ms,
                std::optional<int64_t> last_ms) {
  if (!first_ms && !last_ms) return 0;
  const int64_t first = first_ms ? *first_ms : *last_ms;
  const int64_t last = std::max(first, last_ms ? *last_ms : *first_ms);
  double best = 0;
  for (const TimeInterval& interval : intervals) {
    const int64_t distance = std::max<int64_t>({0, interval.first_ms - last, first - (interval.end_ms - 1)});
    const double half = static_cast<double>(interval.end_ms - interval.first_ms) / 2;
    const double scale = std::clamp(half, 3.0 * kDayMs, 30.0 * kDayMs);
    best = std::max(best, std::exp(-static_cast<double>(distance) / scale));
  }
  return best;
}

bool names_time(std::string_view text) {
  static constexpr std::array<std::string_view, 16> kTimeWords = {
      "ago",   "last",   "next",    "recently", "since", "today",   "tomorrow", "tonight",
      "month", "months", "morning", "week",     "weeks", "weekend", "year",     "yesterday"};
  for (const Word& word : split_words(text)) {
    if (std::find(kTimeWords.begin(), kTimeWords.end(), word.lower) != kTimeWords.end()) return true;
    if (std::find(kMonths.begin(), kMonths.end(), word.lower) != kMonths.end() && (word.capital || word.lower != "may"))
      return true;
    if (weekday_index(word.lower) >= 0) return true;
    const int year = digits(word.lower, false);
    if (word.lower.size() == 4 && year >= 1900 && year < 2100) return true;
  }
  return false;
}

}  // namespace recalld::retrieval
