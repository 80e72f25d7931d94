// Text with its origin: what the chat template wrote, and what people wrote.
#pragma once

#include <string>
#include <vector>

namespace recalld::runtime {

struct TextSegment {
  std::string text;
  // Markup may hold special tokens ("<|im_end|>"); in all other text such strings are plain characters.
  bool is_markup = false;
  friend bool operator==(const TextSegment&, const TextSegment&) = default;
};

// The text of all segments, one after another.
std::string join(const std::vector<TextSegment>& segments);

}  // namespace recalld::runtime
