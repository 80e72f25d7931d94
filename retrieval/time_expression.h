// When a question is about: dates and times named in it, as intervals of UTC.
//
//   dates      7 May 2023 | May 7th, 2023 | 2023-05-07 | May 2023 | summer of 2022 | 2023
//   recurring  7 May | in June | last summer's "summer": without a year, one interval for each year of the history
//   relative   today | yesterday | last week | this month | next year | last Friday | two months ago | the past ten
//   days:
//              from the time of the question; left out when that is unknown
//
// English. Weeks begin on Monday; winter is December to February and bears the year of its December. "May", "march"
// and "fall" count as times only where their neighbours or their capital say so.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace recalld::retrieval {

// What is known about time where the question is asked, Unix milliseconds.
struct TimeContext {
  std::optional<int64_t> asked_ms;
  std::optional<int64_t> history_first_ms, history_last_ms;
};

struct TimeInterval {
  std::string expression;            // the words it was read from, in lower case
  int64_t first_ms = 0, end_ms = 0;  // [first, end)
};

// In the order of the text; an expression that recurs gives several intervals. At most 64.
std::vector<TimeInterval> find_times(std::string_view text, const TimeContext& context);

// How well something said between first_ms and last_ms fits the intervals: 1 when it overlaps one of them, less the
// further it lies from the nearest, exp(-distance / scale), where scale is half the interval's length but between 3 and
// 30 days: people tell of things before and after they happen. 0 without intervals or without a time.
double time_fit(std::span<const TimeInterval> intervals, std::optional<int64_t> first_ms,
                std::optional<int64_t> last_ms);

// True when a text names a time in any way ("yesterday", "last week", "in May", "2022", "at 5 pm", "ago").
bool names_time(std::string_view text);

}  // namespace recalld::retrieval
