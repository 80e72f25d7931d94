#include "runtime/stop_strings.h"

#include <algorithm>
#include <utility>

namespace recalld::runtime {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

// The longest stop string that `text` ends with, or nullptr.
const std::string* StopStrings::match_at_end(std::string_view text) const {
  const std::string* longest = nullptr;
  for (const std::string& stop : stops_) {
    if (text.ends_with(stop) && (longest == nullptr || stop.size() > longest->size())) longest = &stop;
  }
  return longest;
}

// Length of the longest end of `text` that begins a stop string without being one.
size_t StopStrings::begun_at_end(std::string_view text) const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(text.size(), stop.size() - 1); n > longest; --n) {
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

std::string StopStrings::push(std::string_view piece) {
  if (stopped_) return {};
  const size_t seen = held_.size();
  held_ += piece;
  for (size_t end = seen + 1; end <= held_.size(); ++end) {
    const std::string* stop = match_at_end(std::string_view(held_).substr(0, end));
    if (stop == nullptr) continue;
    stopped_ = true;
    std::string text = held_.substr(0, end - stop->size());
    held_.clear();
    return text;
  }
  const size_t keep = begun_at_end(held_);
  std::string text = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return text;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace recalld::runtime
