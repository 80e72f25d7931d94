// Words of a text as questions and times are read from it. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace recalld::retrieval {

struct Word {
  std::string lower;         // ASCII letters in lower case; other bytes as they are
  bool capital = false;      // starts with an ASCII capital
  bool starts_text = false;  // the first word of the text
};

// Runs of ASCII letters and digits and of bytes above 127; all else separates, the typographic apostrophe too.
std::vector<Word> split_words(std::string_view text);

// Words that say nothing about a subject: articles, pronouns, forms of "be" and "do", question words, ...; English.
bool is_stop_word(std::string_view lower);

}  // namespace recalld::retrieval
