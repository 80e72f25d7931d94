// What every bench hands in: named figures, printed as a table and written as JSON.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace recalld::bench {

class Report {
 public:
  // bench: the name scripts/bench was called with; model: file name of the GGUF, or "" without one.
  Report(std::string bench, std::string model);

  // What all figures of this run hold for ("split": "test"): a field of the file's head.
  void head(std::string name, std::string text);

  // One figure. against: what it is a ratio to or a distance from ("libllama f16"), or "".
  void add(std::string name, double value, std::string unit, std::string against = "");

  // The figures as an aligned table on standard output.
  void print() const;

  // {"bench", "model", "machine", "commit", the fields of head(), "figures": [{"name", "value", "unit", "against"}]} to
  // `path`. commit comes from the environment variable RECALLD_COMMIT, machine from /proc/cpuinfo.
  Status write(const std::string& path) const;

  // print(), then write() to RECALLD_BENCH_OUT when it is set. Returns main()'s exit code.
  int finish() const;

 private:
  struct Figure {
    std::string name, unit, against;
    double value;
  };
  std::string bench_, model_;
  std::vector<std::pair<std::string, std::string>> head_;
  std::vector<Figure> figures_;
};

}  // namespace recalld::bench
