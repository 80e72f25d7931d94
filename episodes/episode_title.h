// A few words that say what an episode is about, for people to look at: the words that many of its segments have and
// few of the session's others (tf-idf, Spärck Jones 1972, over segments: how often a word is said inside one segment
// does not count). English function words are left out, plurals in -s count as their singular; nothing else is known
// of any language.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace recalld::episodes {

// The words of a session's segments. Not thread-safe. Memory: about 4 bytes for each distinct word of each segment.
class TitleWords {
 public:
  // The text of the next segment: "<speaker>: <text>" lines. What stands before the first ": " of a line names who
  // speaks and is not counted; a word that does so in a quarter of the segments is in no title.
  void add(std::string_view text);
  size_t size() const { return words_of_.size(); }

  // At most n words, most characteristic first, joined by ", ". Depends on the segments added so far. Empty when the
  // members have no words. Cost: O(words of the members).
  std::string title(std::span<const int32_t> members, int32_t n) const;

 private:
  struct Word {
    std::string text;      // as it was first written, in lower case
    int32_t segments = 0;  // that have it
    int32_t spoke = 0;     // segments where it names a speaker
  };

  int32_t id_of(const std::string& word);

  std::unordered_map<std::string, int32_t> ids_;  // by singular
  std::vector<Word> words_;
  std::vector<std::vector<int32_t>> words_of_;  // [segment], distinct, ascending
};

}  // namespace recalld::episodes
