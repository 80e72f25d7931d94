// What the front counts, and all metrics as Prometheus text 0.0.4.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/service.h"

namespace recalld::api {

// Counts of values up to each bound, their sum and number.
class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds) : bounds_(bounds.begin(), bounds.end()), counts_(bounds.size()) {}
  void add(double value);
  // Appends NAME_bucket, _sum and _count lines; labels as `a="b",c="d"` or empty.
  void print(std::string_view name, const std::string& labels, std::string* text) const;

 private:
  std::vector<double> bounds_;
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  double sum_ = 0;
};

// Safe from any thread.
class HttpMetrics {
 public:
  HttpMetrics();

  // route is a pattern, never a path.
  void request_done(std::string_view route, std::string_view method, int code, double seconds);
  void chat_done(const daemon::ChatResult& result);
  void chat_cancelled(bool slow_reader);

  std::atomic<int64_t> in_flight{0}, connections{0}, websockets{0}, refused{0};

  // The front's metrics, then `engine`.
  std::string render(const std::vector<daemon::Service::Metric>& engine) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::array<std::string, 3>, int64_t> requests_;            // route, method, code
  std::map<std::pair<std::string, std::string>, Histogram> seconds_;  // route, code
  Histogram first_token_;
  std::array<int64_t, 3> tokens_{};     // reused, read, generated
  std::array<int64_t, 2> cancelled_{};  // client gone, slow reader
};

}  // namespace recalld::api
