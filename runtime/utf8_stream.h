// Bytes in, whole valid UTF-8 characters out.
#pragma once

#include <string>
#include <string_view>

namespace recalld::runtime {

// Not thread-safe. The output of all push() and finish() calls together is the input with each maximal invalid part
// replaced by U+FFFD, as the Unicode standard recommends (section 3.9, "Substitution of Maximal Subparts").
class Utf8Stream {
 public:
  // The characters that `bytes` completes. An incomplete character at the end (at most 3 bytes) is held back.
  std::string push(std::string_view bytes);
  // What is held back, as U+FFFD, or nothing.
  std::string finish();

 private:
  std::string pending_;
};

}  // namespace recalld::runtime
