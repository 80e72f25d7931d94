#include "retrieval/words.h"

#include <algorithm>
#include <array>

namespace recalld::retrieval {
namespace {

constexpr std::string_view kTypographicApostrophe = "\xE2\x80\x99";

constexpr std::array<std::string_view, 133> kStopWords = {
    "a",      "about", "after",  "all",   "am",    "an",     "and",   "any",  "are",   "aren",  "as",     "at",
    "be",     "been",  "before", "being", "both",  "but",    "by",    "can",  "could", "d",     "did",    "didn",
    "do",     "does",  "doesn",  "doing", "don",   "during", "each",  "for",  "from",  "had",   "has",    "have",
    "having", "he",    "her",    "here",  "hers",  "him",    "his",   "how",  "i",     "if",    "in",     "into",
    "is",     "isn",   "it",     "its",   "ll",    "m",      "may",   "me",   "might", "mine",  "must",   "my",
    "no",     "nor",   "not",    "of",    "on",    "or",     "other", "our",  "ours",  "over",  "re",     "s",
    "shall",  "she",   "should", "so",    "some",  "t",      "than",  "that", "the",   "their", "theirs", "them",
    "then",   "there", "these",  "they",  "this",  "those",  "to",    "us",   "ve",    "was",   "wasn",   "we",
    "were",   "weren", "what",   "when",  "where", "which",  "who",   "whom", "whose", "why",   "will",   "with",
    "won",    "would", "you",    "your",  "yours"};

bool in_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         static_cast<unsigned char>(c) > 127;
}

}  // namespace

std::vector<Word> split_words(std::string_view text) {
  std::vector<Word> words;
  size_t at = 0;
  const auto separator = [&](size_t i) -> size_t {
    if (text.substr(i).starts_with(kTypographicApostrophe)) return kTypographicApostrophe.size();
    return in_word(text[i]) ? 0 : 1;
  };
  while (at < text.size()) {
    if (const size_t skip = separator(at)) {
      at += skip;
      continue;
    }
    Word word;
    word.capital = text[at] >= 'A' && text[at] <= 'Z';
    word.starts_text = words.empty();
    for (; at < text.size() && separator(at) == 0; ++at)
      word.lower += text[at] >= 'A' && text[at] <= 'Z' ? static_cast<char>(text[at] - 'A' + 'a') : text[at];
    words.push_back(std::move(word));
  }
  return words;
}

bool is_stop_word(std::string_view lower) {
  return std::find(kStopWords.begin(), kStopWords.end(), lower) != kStopWords.end();
}

}  // namespace recalld::retrieval
