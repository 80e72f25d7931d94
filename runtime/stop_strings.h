// Cuts a stream of text at the first stop string, across pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recalld::runtime {

// Never gives out a part of a stop string that might still become whole, and holds back no more than that: what is held
// is the longest end of the text that begins some stop string. The stop string that is whole first ends the text; of
// those whole at the same byte, the longest. The outcome does not depend on how the text is cut into pieces.
// Not thread-safe.
class StopStrings {
 public:
  // Empty strings are ignored.
  explicit StopStrings(std::vector<std::string> stops);

  // The text that is safe to give out now. After a match (stopped() is true) nothing more comes.
  std::string push(std::string_view piece);
  // What was held back, when the text ends without a stop string.
  std::string finish();
  bool stopped() const { return stopped_; }

 private:
  const std::string* match_at_end(std::string_view text) const;
  size_t begun_at_end(std::string_view text) const;

  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace recalld::runtime
