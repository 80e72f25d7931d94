// How far a long run is, on standard error.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace recalld::bench {

// A line that is written over on a terminal; otherwise a line every half minute.
class Progress {
 public:
  // total: steps to come.
  Progress(const Clock& clock, int64_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // What is being done now.
  void say(const std::string& what);
  void step();

 private:
  void draw(bool always);

  const Clock& clock_;
  int64_t total_, done_ = 0;
  int64_t started_ns_, drawn_ns_ = 0;
  bool terminal_;
  std::string what_;
};

// "2 h 05 min", "3 min 20 s", "12 s".
std::string spoken_duration(double seconds);

}  // namespace recalld::bench
