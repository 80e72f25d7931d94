// What the full cache thought of each gold answer, kept beside the records: a later arm is compared with it without the
// history being read again.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "base/status.h"
#include "bench/recall/evaluate.h"

namespace recalld::bench {

// One file; appended to. Not thread-safe; one program at a time.
class ReferenceStore {
 public:
  // An unreadable end (the program was killed in the middle) is cut off.
  static Result<ReferenceStore> open(const std::string& path);

  // Null when there is none. The pointer is good until the next add.
  const Reference* find(const std::string& key, int question) const;
  Status add(const std::string& key, int question, Reference reference);

 private:
  std::string path_;
  std::map<std::pair<std::string, int>, Reference> references_;
};

}  // namespace recalld::bench
