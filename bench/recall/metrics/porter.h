// The Porter stemmer for English (M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980).
#pragma once

#include <string>
#include <string_view>

namespace recalld::bench {

// The stem of a lower-case word. Words of one or two letters, and words with anything but a-z in them, stay as they
// are.
std::string porter_stem(std::string_view word);

}  // namespace recalld::bench
