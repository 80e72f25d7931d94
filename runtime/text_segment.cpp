#include "runtime/text_segment.h"

namespace recalld::runtime {

std::string join(const std::vector<TextSegment>& segments) {
  std::string text;
  for (const TextSegment& segment : segments) text += segment.text;
  return text;
}

}  // namespace recalld::runtime
