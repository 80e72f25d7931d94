// Time is passed in, so that tests choose it.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace recalld {

class Clock {
 public:
  virtual ~Clock() = default;
  // Milliseconds since 1970-01-01 UTC; what transcripts are dated with. May jump.
  virtual int64_t now_ms() const = 0;
  // Nanoseconds of a clock that never goes back; for durations only.
  virtual int64_t monotonic_ns() const = 0;
};

// The machine's clocks. Safe from any thread.
class SystemClock final : public Clock {
 public:
  int64_t now_ms() const override;
  int64_t monotonic_ns() const override;
};

// A clock that stands until it is moved. Not thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t now_ms) : now_ms_(now_ms) {}
  int64_t now_ms() const override { return now_ms_; }
  int64_t monotonic_ns() const override { return now_ms_ * 1'000'000; }
  void advance_ms(int64_t delta) { now_ms_ += delta; }

 private:
  int64_t now_ms_;
};

// "2026-05-08T13:56:00Z" for milliseconds since the epoch, UTC.
std::string format_rfc3339(int64_t unix_ms);

// A day of the Gregorian calendar, UTC.
struct CivilDate {
  int year = 1970;
  int month = 1;  // 1 to 12
  int day = 1;    // 1 to 31
};
CivilDate civil_date(int64_t unix_ms);

// "January" for 1 to "December" for 12.
std::string_view month_name(int month);

// Milliseconds since the epoch of an RFC 3339 date-time ("2023-05-08T13:56:00Z", "+02:00" offsets, optional fraction).
// Returns false, leaving *unix_ms alone, when the text is not one.
bool parse_rfc3339(const std::string& text, int64_t* unix_ms);

}  // namespace recalld
