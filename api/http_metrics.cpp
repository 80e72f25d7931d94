#include "api/http_metrics.h"

#include <cmath>
#include <cstdio>

#include "api/version.h"

namespace recalld::api {
namespace {

constexpr std::array kRequestBounds = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0};
constexpr std::array kFirstTokenBounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0};

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  char text[40];
  std::snprintf(text, sizeof text, std::trunc(value) == value && std::abs(value) < 1e15 ? "%.0f" : "%.9g", value);
  return text;
}

std::string label_value(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n') {
      result += "\\n";
      continue;
    }
    if (c == '"' || c == '\\') result += '\\';
    result += c;
  }
  return result;
}

std::string label(std::string_view name, std::string_view value) {
  return std::string(name) + "=\"" + label_value(value) + "\"";
}

void head(std::string_view name, std::string_view help, std::string_view type, std::string* text) {
  std::string line(help);
  for (char& c : line)
    if (c == '\n') c = ' ';
  *text +=
      "# HELP " + std::string(name) + " " + line + "\n# TYPE " + std::string(name) + " " + std::string(type) + "\n";
}

void sample(std::string_view name, const std::string& labels, double value, std::string* text) {
  *text += name;
  if (!labels.empty()) *text += "{" + labels + "}";
  *text += " " + number(value) + "\n";
}

}  // namespace

void Histogram::add(double value) {
  for (size_t i = 0; i < bounds_.size(); ++i)
    if (value <= bounds_[i]) ++counts_[i];
  ++count_;
  sum_ += value;
}

void Histogram::print(std::string_view name, const std::string& labels, std::string* text) const {
  const std::string bucket = std::string(name) + "_bucket";
  const std::string before = labels.empty() ? "" : labels + ",";
  for (size_t i = 0; i < bounds_.size(); ++i)
    sample(bucket, before + label("le", number(bounds_[i])), static_cast<double>(counts_[i]), text);
  sample(bucket, before + label("le", "+Inf"), static_cast<double>(count_), text);
  sample(std::string(name) + "_sum", labels, sum_, text);
  sample(std::string(name) + "_count", labels, static_cast<double>(count_), text);
}

HttpMetrics::HttpMetrics() : first_token_(kFirstTokenBounds) {}

void HttpMetrics::request_done(std::string_view route, std::string_view method, int code, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(route), std::string(method), std::to_string(code)}];
  seconds_.try_emplace({std::string(route), std::to_string(code)}, kRequestBounds).first->second.add(seconds);
}

void HttpMetrics::chat_done(const daemon::ChatResult& result) {
  const std::lock_guard lock(mutex_);
  first_token_.add(result.recall.first_token_ms / 1000);
  tokens_[0] += result.recall.tokens_reused;
  tokens_[1] += result.recall.tokens_read;
  tokens_[2] += result.completion_tokens;
}

void HttpMetrics::chat_cancelled(bool slow_reader) {
  const std::lock_guard lock(mutex_);
  ++cancelled_[slow_reader ? 1 : 0];
}

std::string HttpMetrics::render(const std::vector<daemon::Service::Metric>& engine) const {
  std::string text;
  head("recalld_build_info", "The build that runs.", "gauge", &text);
  sample("recalld_build_info", label("version", kVersion), 1, &text);
  const auto gauge = [&](std::string_view name, std::string_view help, const std::atomic<int64_t>& value) {
    head(name, help, "gauge", &text);
    sample(name, "", static_cast<double>(value.load()), &text);
  };
  gauge("recalld_http_requests_in_flight", "Requests being answered.", in_flight);
  gauge("recalld_http_connections", "Open connections.", connections);
  gauge("recalld_websocket_connections", "Open WebSockets.", websockets);
  head("recalld_http_connections_refused_total", "Connections over server.max_connections.", "counter", &text);
  sample("recalld_http_connections_refused_total", "", static_cast<double>(refused.load()), &text);

  {
    const std::lock_guard lock(mutex_);
    head("recalld_http_requests_total", "Requests answered.", "counter", &text);
    for (const auto& [key, count] : requests_)
      sample("recalld_http_requests_total",
             label("route", key[0]) + "," + label("method", key[1]) + "," + label("code", key[2]),
             static_cast<double>(count), &text);
    head("recalld_http_request_duration_seconds", "From the headers to the end of the answer.", "histogram", &text);
    for (const auto& [key, histogram] : seconds_)
      histogram.print("recalld_http_request_duration_seconds",
                      label("route", key.first) + "," + label("code", key.second), &text);
    head("recalld_chat_time_to_first_token_seconds", "From the request to the first token.", "histogram", &text);
    first_token_.print("recalld_chat_time_to_first_token_seconds", "", &text);
    head("recalld_chat_tokens_total", "Tokens taken from memory, read by the model, and generated.", "counter", &text);
    constexpr std::array kKinds = {"reused", "read", "generated"};
    for (size_t i = 0; i < kKinds.size(); ++i)
      sample("recalld_chat_tokens_total", label("kind", kKinds[i]), static_cast<double>(tokens_[i]), &text);
    head("recalld_chat_cancelled_total", "Answers that nobody waited for.", "counter", &text);
    constexpr std::array kReasons = {"client_gone", "slow_reader"};
    for (size_t i = 0; i < kReasons.size(); ++i)
      sample("recalld_chat_cancelled_total", label("reason", kReasons[i]), static_cast<double>(cancelled_[i]), &text);
  }

  // Samples of one name must stand together, under one head.
  std::map<std::string, std::vector<const daemon::Service::Metric*>> by_name;
  for (const daemon::Service::Metric& metric : engine) by_name[metric.name].push_back(&metric);
  for (const auto& [name, samples] : by_name) {
    head(name, samples.front()->help, samples.front()->type, &text);
    for (const daemon::Service::Metric* metric : samples) {
      std::string labels;
      for (const auto& [key, value] : metric->labels) labels += (labels.empty() ? "" : ",") + label(key, value);
      sample(name, labels, metric->value, &text);
    }
  }
  return text;
}

}  // namespace recalld::api
