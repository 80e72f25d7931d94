#include "app/recallctl/follow.h"

#include <chrono>
#include <deque>
#include <thread>

namespace recalld::recallctl {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::chrono::milliseconds kPollInterval{250};
constexpr std::chrono::seconds kRestartPatience{30};
constexpr std::chrono::seconds kRateWindow{10};

// Tokens a second over the last seconds: reading comes in blocks, and slows down as the history grows.
class Rate {
 public:
  double add(SteadyTime now, int64_t done) {
    if (!samples_.empty() && done < samples_.back().done) samples_.clear();
    samples_.push_back({now, done});
    while (samples_.size() > 2 && now - samples_.front().at > kRateWindow) samples_.pop_front();
    const double seconds = std::chrono::duration<double>(now - samples_.front().at).count();
    return seconds > 0 ? static_cast<double>(done - samples_.front().done) / seconds : 0;
  }

 private:
  struct Sample {
    SteadyTime at;
    int64_t done;
  };
  std::deque<Sample> samples_;
};

}  // namespace

Result<boost::json::object> follow_reading(const Api& api, const std::string& session, bool quiet) {
  ProgressLine progress;
  Rate rate;
  SteadyTime last_seen = std::chrono::steady_clock::now();
  for (;;) {
    auto memory = api.memory(session);
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!memory.ok()) {
      if (memory.status().code() == StatusCode::kUnavailable && now - last_seen < kRestartPatience) {
        std::this_thread::sleep_for(kPollInterval);
        continue;
      }
      progress.finish();
      return memory.status();
    }
    last_seen = now;
    const int64_t ready = int_of(*memory, "tokens_ready");
    const double per_second = rate.add(now, ready);
    if (!quiet) progress.show(ready, int_of(*memory, "tokens_total"), per_second);
    if (int_of(*memory, "tokens_pending") == 0) {
      progress.finish();
      return memory;
    }
    std::this_thread::sleep_for(kPollInterval);
  }
}

}  // namespace recalld::recallctl
