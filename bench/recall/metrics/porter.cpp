#include "bench/recall/metrics/porter.h"

#include <algorithm>
#include <span>
#include <utility>

namespace recalld::bench {
namespace {

using Rule = std::pair<std::string_view, std::string_view>;

class Stemmer {
 public:
  explicit Stemmer(std::string_view word) : word_(word) {}

  std::string stem() {
    plurals();
    past_and_progressive();
    if (word_.ends_with('y') && has_vowel(word_.size() - 1)) word_.back() = 'i';
    double_suffixes();
    single_suffixes();
    bare_suffixes();
    tidy();
    return word_;
  }

 private:
  bool consonant(size_t i) const {
    switch (word_[i]) {
      case 'a':
      case 'e':
      case 'i':
      case 'o':
      case 'u':
        return false;
      case 'y':
        return i == 0 || !consonant(i - 1);
      default:
        return true;
    }
  }

  // m of the paper: vowel-consonant sequences in the first n letters.
  int measure(size_t n) const {
    int count = 0;
    for (size_t i = 1; i < n; ++i)
      if (consonant(i) && !consonant(i - 1)) ++count;
    return count;
  }

  bool has_vowel(size_t n) const {
    for (size_t i = 0; i < n; ++i)
      if (!consonant(i)) return true;
    return false;
  }

  bool double_consonant(size_t n) const { return n >= 2 && word_[n - 1] == word_[n - 2] && consonant(n - 1); }

  // *o: consonant, vowel, consonant other than w, x, y.
  bool short_end(size_t n) const {
    if (n < 3 || !consonant(n - 1) || consonant(n - 2) || !consonant(n - 3)) return false;
    const char last = word_[n - 1];
    return last != 'w' && last != 'x' && last != 'y';
  }

  void cut(size_t n) { word_.resize(word_.size() - n); }

  void replace(std::string_view suffix, std::string_view by) {
    cut(suffix.size());
    word_ += by;
  }

  // The first rule whose suffix fits is the only one tried.
  void apply(std::span<const Rule> rules, int least_measure) {
    for (const auto& [suffix, by] : rules) {
      if (!word_.ends_with(suffix)) continue;
      if (measure(word_.size() - suffix.size()) >= least_measure) replace(suffix, by);
      return;
    }
  }

  // Step 1a.
  void plurals() {
    static constexpr Rule kRules[] = {{"sses", "ss"}, {"ies", "i"}, {"ss", "ss"}, {"s", ""}};
    apply(kRules, 0);
  }

  // Step 1b.
  void past_and_progressive() {
    if (word_.ends_with("eed")) {
      if (measure(word_.size() - 3) > 0) cut(1);
      return;
    }
    const size_t length = word_.ends_with("ed") ? 2 : word_.ends_with("ing") ? 3 : 0;
    if (length == 0 || !has_vowel(word_.size() - length)) return;
    cut(length);
    if (word_.ends_with("at") || word_.ends_with("bl") || word_.ends_with("iz")) {
      word_ += 'e';
    } else if (double_consonant(word_.size())) {
      const char last = word_.back();
      if (last != 'l' && last != 's' && last != 'z') cut(1);
    } else if (measure(word_.size()) == 1 && short_end(word_.size())) {
      word_ += 'e';
    }
  }

  // Step 2.
  void double_suffixes() {
    static constexpr Rule kRules[] = {{"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"},
                                      {"izer", "ize"},    {"abli", "able"},   {"alli", "al"},     {"entli", "ent"},
                                      {"eli", "e"},       {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},
                                      {"ator", "ate"},    {"alism", "al"},    {"iveness", "ive"}, {"fulness", "ful"},
                                      {"ousness", "ous"}, {"aliti", "al"},    {"iviti", "ive"},   {"biliti", "ble"}};
    apply(kRules, 1);
  }

  // Step 3.
  void single_suffixes() {
    static constexpr Rule kRules[] = {{"icate", "ic"}, {"ative", ""}, {"alize", "al"}, {"iciti", "ic"},
                                      {"ical", "ic"},  {"ful", ""},   {"ness", ""}};
    apply(kRules, 1);
  }

  // Step 4.
  void bare_suffixes() {
    static constexpr std::string_view kSuffixes[] = {"al",  "ance",  "ence", "er",  "ic",  "able", "ible",
                                                     "ant", "ement", "ment", "ent", "ion", "ou",   "ism",
                                                     "ate", "iti",   "ous",  "ive", "ize"};
    for (const std::string_view suffix : kSuffixes) {
      if (!word_.ends_with(suffix)) continue;
      const size_t n = word_.size() - suffix.size();
      const bool after_s_or_t = n > 0 && (word_[n - 1] == 's' || word_[n - 1] == 't');
      if (measure(n) > 1 && (suffix != "ion" || after_s_or_t)) word_.resize(n);
      return;
    }
  }

  // Step 5.
  void tidy() {
    if (word_.ends_with('e')) {
      const size_t n = word_.size() - 1;
      if (measure(n) > 1 || (measure(n) == 1 && !short_end(n))) word_.resize(n);
    }
    if (word_.ends_with("ll") && measure(word_.size()) > 1) cut(1);
  }

  std::string word_;
};

}  // namespace

std::string porter_stem(std::string_view word) {
  const bool plain = std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
  if (word.size() <= 2 || !plain) return std::string(word);
  return Stemmer(word).stem();
}

}  // namespace recalld::bench
