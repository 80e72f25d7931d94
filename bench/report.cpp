#include "bench/report.h"

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace recalld::bench {
namespace {

std::string machine_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line, model = "unknown CPU";
  while (std::getline(cpuinfo, line)) {
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  }
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
}

}  // namespace

Report::Report(std::string bench, std::string model) : bench_(std::move(bench)), model_(std::move(model)) {}

void Report::head(std::string name, std::string text) { head_.emplace_back(std::move(name), std::move(text)); }

void Report::add(std::string name, double value, std::string unit, std::string against) {
  figures_.push_back({std::move(name), std::move(unit), std::move(against), value});
}

void Report::print() const {
  size_t width = 8;
  for (const Figure& figure : figures_) width = std::max(width, figure.name.size());
  std::printf("\n%-*s  %12s  %-12s %s\n", static_cast<int>(width), "figure", "value", "unit", "against");
  for (const Figure& figure : figures_)
    std::printf("%-*s  %12.6g  %-12s %s\n", static_cast<int>(width), figure.name.c_str(), figure.value,
                figure.unit.c_str(), figure.against.c_str());
  std::fflush(stdout);
}

Status Report::write(const std::string& path) const {
  boost::json::array figures;
  for (const Figure& figure : figures_)
    figures.push_back(
        {{"name", figure.name}, {"value", figure.value}, {"unit", figure.unit}, {"against", figure.against}});
  const char* commit = std::getenv("RECALLD_COMMIT");
  boost::json::object report{{"bench", bench_},
                             {"model", model_},
                             {"machine", machine_name()},
                             {"commit", commit != nullptr ? commit : "unknown"}};
  for (const auto& [name, text] : head_) report[name] = text;
  report["figures"] = std::move(figures);
  std::ofstream file(path);
  file << boost::json::serialize(report) << "\n";
  if (!file.flush()) return internal_error("cannot write " + path);
  return ok_status();
}

int Report::finish() const {
  print();
  const char* path = std::getenv("RECALLD_BENCH_OUT");
  if (path == nullptr) return 0;
  const Status status = write(path);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace recalld::bench
