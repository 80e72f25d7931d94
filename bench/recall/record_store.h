// The records of all runs in one file of lines, so that an interrupted run goes on where it was.
#pragma once

#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "bench/recall/record.h"

namespace recalld::bench {

// Appends a line per record and flushes it. A broken line (the program was killed in the middle) is skipped; of two
// records for the same thing the later counts. Not thread-safe; one program at a time.
class RecordStore {
 public:
  // Reads what is there; creates the file when there is none.
  static Result<RecordStore> open(const std::string& path);

  // Null when there is none.
  const QuestionRecord* question(const std::string& key, int question) const;
  const BuildRecord* build(const std::string& key) const;

  Status add(const QuestionRecord& record);
  Status add(const BuildRecord& record);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }  // NOLINT: stdio owns it
  };

  Status append(const std::string& line);

  std::unique_ptr<std::FILE, Close> file_;
  std::map<std::pair<std::string, int>, QuestionRecord> questions_;
  std::map<std::string, BuildRecord> builds_;
};

}  // namespace recalld::bench
