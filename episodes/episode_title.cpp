#include "episodes/episode_title.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "retrieval/words.h"

namespace recalld::episodes {

namespace {

constexpr size_t kShortest = 3;
constexpr size_t kLongest = 24;

// What people say in any conversation, besides the words that say nothing anywhere (retrieval::is_stop_word). Sorted;
// all of kShortest letters or more, without apostrophes (a word ends there).
constexpr auto kChatter = std::to_array<std::string_view>({
    "absolutely", "actually", "again",    "ago",     "ain",        "almost",   "along",     "already",    "also",
    "although",   "always",   "amazing",  "another", "anyone",     "anything", "around",    "asked",      "away",
    "awesome",    "back",     "became",   "because", "best",       "better",   "bit",       "bye",        "came",
    "cannot",     "come",     "comes",    "cool",    "couldn",     "course",   "days",      "definitely", "done",
    "down",       "either",   "else",     "enough",  "even",       "ever",     "every",     "everyone",   "everything",
    "exactly",    "far",      "feel",     "feeling", "feels",      "felt",     "few",       "first",      "found",
    "full",       "fun",      "gave",     "get",     "gets",       "getting",  "give",      "gives",      "glad",
    "goes",       "going",    "gone",     "gonna",   "good",       "got",      "gotta",     "great",      "guess",
    "hadn",       "happen",   "happened", "hard",    "hasn",       "haven",    "hello",     "hey",        "himself",
    "hope",       "however",  "itself",   "just",    "keep",       "kind",     "kinda",     "knew",       "know",
    "last",       "lately",   "least",    "less",    "let",        "like",     "little",    "long",       "look",
    "looking",    "looks",    "lot",      "lots",    "made",       "make",     "makes",     "making",     "many",
    "maybe",      "mean",     "means",    "more",    "most",       "much",     "myself",    "near",       "need",
    "never",      "new",      "next",     "nice",    "nope",       "nothing",  "now",       "off",        "often",
    "okay",       "once",     "one",      "only",    "onto",       "others",   "out",       "own",        "part",
    "perhaps",    "photo",    "please",   "pretty",  "probably",   "put",      "quite",     "rather",     "really",
    "recently",   "right",    "said",     "same",    "saw",        "say",      "saying",    "says",       "see",
    "seem",       "seems",    "seen",     "shares",  "shouldn",    "since",    "someone",   "something",  "soon",
    "sorry",      "sound",    "sounds",   "still",   "stuff",      "such",     "super",     "sure",       "take",
    "taking",     "tell",     "thank",    "thanks",  "themselves", "thing",    "things",    "think",      "thinking",
    "though",     "thought",  "through",  "time",    "times",      "today",    "together",  "told",       "tomorrow",
    "too",        "took",     "totally",  "tried",   "true",       "try",      "trying",    "two",        "under",
    "until",      "upon",     "use",      "used",    "using",      "very",     "wanna",     "want",       "wanted",
    "way",        "well",     "went",     "while",   "whole",      "within",   "without",   "wonderful",  "wouldn",
    "wow",        "yeah",     "year",     "years",   "yep",        "yes",      "yesterday", "yet",        "yourself",
});
static_assert(std::ranges::is_sorted(kChatter));

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Letters of other scripts are bytes above 127 in UTF-8.
bool is_word_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || static_cast<unsigned char>(c) >= 0x80;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_counted(const std::string& word) {
  if (word.size() < kShortest || word.size() > kLongest) return false;
  if (std::ranges::all_of(word, is_digit)) return false;
  return !retrieval::is_stop_word(word) && !std::ranges::binary_search(kChatter, std::string_view(word));
}

std::string singular(const std::string& word) {
  const size_t n = word.size();
  if (n < 4 || word[n - 1] != 's' || word[n - 2] == 's' || word[n - 2] == 'u' || word[n - 2] == 'i') return word;
  return word.substr(0, n - 1);
}

// Dashes, quotes and the like of any script, as UTF-8: U+2000 to U+207F and U+3000 to U+303F. 0 when there is none.
size_t punctuation_at(std::string_view text) {
  if (text.size() < 3) return 0;
  return text.starts_with("\xE2\x80") || text.starts_with("\xE2\x81") || text.starts_with("\xE3\x80") ? 3 : 0;
}

// Calls take(word) for each counted word of a line.
template <typename Take>
void each_word(std::string_view line, Take take) {
  std::string word;
  while (true) {
    const size_t skipped = line.empty() || !is_word_char(line[0]) ? 1 : punctuation_at(line);
    if (skipped == 0) {
      if (word.size() <= kLongest) word += lower(line[0]);
      line.remove_prefix(1);
      continue;
    }
    if (is_counted(word)) take(word);
    word.clear();
    if (line.empty()) return;
    line.remove_prefix(skipped);
  }
}

}  // namespace

int32_t TitleWords::id_of(const std::string& word) {
  const auto [at, fresh] = ids_.try_emplace(singular(word), static_cast<int32_t>(words_.size()));
  if (fresh) words_.push_back({.text = word});
  return at->second;
}

void TitleWords::add(std::string_view text) {
  std::vector<int32_t> said;
  std::vector<int32_t> spoke;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t speaker = line.find(": ");
    if (speaker != std::string_view::npos) {
      each_word(line.substr(0, speaker), [&](const std::string& word) { spoke.push_back(id_of(word)); });
      line.remove_prefix(speaker + 2);
    }
    each_word(line, [&](const std::string& word) { said.push_back(id_of(word)); });
  }
  for (std::vector<int32_t>* ids : {&said, &spoke}) {
    std::ranges::sort(*ids);
    ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
  }
  for (const int32_t id : said) ++words_[static_cast<size_t>(id)].segments;
  for (const int32_t id : spoke) ++words_[static_cast<size_t>(id)].spoke;
  said.shrink_to_fit();
  words_of_.push_back(std::move(said));
}

std::string TitleWords::title(std::span<const int32_t> members, int32_t n) const {
  std::map<int32_t, int32_t> counts;
  for (const int32_t member : members) {
    for (const int32_t id : words_of_[static_cast<size_t>(member)]) ++counts[id];
  }
  struct Scored {
    double score;
    int32_t count;
    int32_t id;
  };
  std::vector<Scored> scored;
  const auto segments = static_cast<double>(words_of_.size());
  for (const auto& [id, count] : counts) {
    if (4 * static_cast<size_t>(words_[static_cast<size_t>(id)].spoke) >= words_of_.size()) continue;
    scored.push_back({count * std::log(segments / words_[static_cast<size_t>(id)].segments), count, id});
  }
  const size_t taken = std::min(scored.size(), static_cast<size_t>(std::max(n, 0)));
  // Of equals the word said in more segments, then the one that was said first in the session.
  std::ranges::partial_sort(scored, scored.begin() + static_cast<std::ptrdiff_t>(taken),
                            [](const Scored& a, const Scored& b) {
                              if (a.score != b.score) return a.score > b.score;
                              if (a.count != b.count) return a.count > b.count;
                              return a.id < b.id;
                            });
  std::string title;
  for (size_t i = 0; i < taken; ++i) {
    if (i > 0) title += ", ";
    title += words_[static_cast<size_t>(scored[i].id)].text;
  }
  return title;
}

}  // namespace recalld::episodes
