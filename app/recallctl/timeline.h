// How many messages were said when: by day, or by month or year when that would be too many rows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace recalld::recallctl {

class Timeline {
 public:
  struct Row {
    std::string label;  // "2026-01-11 Sun", "2026-01", "2026" (UTC)
    int64_t turns = 0;
  };

  void add(const std::optional<int64_t>& time_ms);
  int64_t turns() const { return turns_; }
  int64_t undated() const { return undated_; }

  // Oldest first. Days without messages are left out; months and years without are not. At most kMostDays days, else
  // at most kMostMonths months, else years.
  std::vector<Row> rows() const;
  static constexpr size_t kMostDays = 31;
  static constexpr size_t kMostMonths = 48;

 private:
  std::map<int64_t, int64_t> days_;  // since 1970-01-01: messages
  int64_t turns_ = 0, undated_ = 0;
};

}  // namespace recalld::recallctl
