#include "bench/recall/metrics/f1.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <span>
#include <vector>

#include "bench/recall/metrics/porter.h"

namespace recalld::bench {
namespace {

using Words = std::vector<std::string>;

constexpr std::array<std::string_view, 10> kDigits = {"zero", "one", "two",   "three", "four",
                                                      "five", "six", "seven", "eight", "nine"};

// Lower-case words between spaces, without ASCII punctuation and without `dropped`.
Words words_of(std::string_view text, std::span<const std::string_view> dropped) {
  Words words;
  std::string word;
  const auto finish = [&] {
    if (!word.empty() && std::find(dropped.begin(), dropped.end(), word) == dropped.end()) words.push_back(word);
    word.clear();
  };
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isspace(byte) != 0) {
      finish();
    } else if (byte >= 0x80 || std::ispunct(byte) == 0) {
      word += static_cast<char>(std::tolower(byte));
    }
  }
  finish();
  return words;
}

double f1(const Words& answer, const Words& gold) {
  std::map<std::string, int> left;
  for (const std::string& word : gold) ++left[word];
  int common = 0;
  for (const std::string& word : answer) {
    const auto found = left.find(word);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++common;
  }
  if (common == 0) return 0;
  const double precision = static_cast<double>(common) / static_cast<double>(answer.size());
  const double recall = static_cast<double>(common) / static_cast<double>(gold.size());
  return 2 * precision * recall / (precision + recall);
}

Words stems(std::string_view text) {
  static constexpr std::array<std::string_view, 4> kDropped = {"a", "an", "the", "and"};
  Words words = words_of(text, kDropped);
  for (std::string& word : words) word = porter_stem(word);
  return words;
}

std::vector<std::string_view> parts(std::string_view text) {
  std::vector<std::string_view> found;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(',', start), text.size());
    found.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return found;
}

double multi_hop_f1(std::string_view answer, std::string_view gold) {
  const std::vector<std::string_view> answers = parts(answer), golds = parts(gold);
  double sum = 0;
  for (const std::string_view wanted : golds) {
    double best = 0;
    for (const std::string_view given : answers) best = std::max(best, f1(stems(given), stems(wanted)));
    sum += best;
  }
  return sum / static_cast<double>(golds.size());
}

bool says_nothing_is_known(std::string_view answer) {
  std::string text(answer);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
  return text.find("no information available") != std::string::npos || text.find("not mentioned") != std::string::npos;
}

}  // namespace

double locomo_f1(std::string_view answer, std::string_view gold, int category) {
  if (category == 5) return says_nothing_is_known(answer) ? 1 : 0;
  if (category == 1) return multi_hop_f1(answer, gold);
  if (category == 3) gold = gold.substr(0, gold.find(';'));
  return f1(stems(answer), stems(gold));
}

double epicache_f1(std::string_view answer, std::string_view gold) {
  static constexpr std::array<std::string_view, 3> kDropped = {"a", "an", "the"};
  const auto normalised = [](std::string_view text) {
    Words words = words_of(text, kDropped);
    for (std::string& word : words) {
      const auto* digit = std::find(kDigits.begin(), kDigits.end(), word);
      if (digit != kDigits.end()) word = std::to_string(digit - kDigits.begin());
    }
    return words;
  };
  return f1(normalised(answer), normalised(gold));
}

}  // namespace recalld::bench
