#include "bench/recall/progress.h"

#include <unistd.h>

#include <cstdio>

namespace recalld::bench {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int kBarWidth = 24;

std::string two_digits(int64_t number) { return (number < 10 ? "0" : "") + std::to_string(number); }

}  // namespace

std::string spoken_duration(double seconds) {
  const auto whole = static_cast<int64_t>(seconds + 0.5);
  if (whole >= 3600) return std::to_string(whole / 3600) + " h " + two_digits(whole / 60 % 60) + " min";
  if (whole >= 60) return std::to_string(whole / 60) + " min " + two_digits(whole % 60) + " s";
  return std::to_string(whole) + " s";
}

Progress::Progress(const Clock& clock, int64_t total)
    : clock_(clock), total_(total), started_ns_(clock.monotonic_ns()), terminal_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() {
  if (total_ == 0) return;
  draw(true);
  if (terminal_) std::fputc('\n', stderr);
}

void Progress::say(const std::string& what) {
  what_ = what;
  draw(false);
}

void Progress::step() {
  ++done_;
  draw(false);
}

void Progress::draw(bool always) {
  const int64_t now = clock_.monotonic_ns();
  if (!always && now - drawn_ns_ < (terminal_ ? kNsPerSecond / 5 : 30 * kNsPerSecond)) return;
  drawn_ns_ = now;
  const double passed = static_cast<double>(now - started_ns_) / kNsPerSecond;
  const double share = total_ == 0 ? 1 : static_cast<double>(done_) / static_cast<double>(total_);
  std::string line = "[";
  for (int i = 0; i < kBarWidth; ++i) line += i < share * kBarWidth ? '#' : '.';
  line += "] " + std::to_string(done_) + "/" + std::to_string(total_);
  if (done_ > 0 && done_ < total_) line += "  " + spoken_duration(passed / share - passed) + " left";
  if (done_ == total_) line += "  " + spoken_duration(passed);
  line += "  " + what_;
  std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace recalld::bench
