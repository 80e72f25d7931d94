#include "episodes/policies/selection.h"

#include <algorithm>
#include <cmath>

namespace recalld::episodes {
namespace {

struct Candidate {
  float value;
  int32_t index;
  int32_t head;
};

bool better(const Candidate& a, const Candidate& b) {
  if (a.value != b.value) return a.value > b.value;
  return a.index != b.index ? a.index < b.index : a.head < b.head;
}

// Of the candidates the `count` best, into kept.
void take_best(std::vector<Candidate>& candidates, size_t count, std::vector<std::vector<int32_t>>& kept) {
  if (count < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count), candidates.end(), better);
    candidates.resize(count);
  }
  for (const Candidate& candidate : candidates) kept[static_cast<size_t>(candidate.head)].push_back(candidate.index);
}

}  // namespace

std::vector<std::vector<int32_t>> select_entries(const std::vector<std::vector<float>>& keep, int32_t budget,
                                                 Selection selection) {
  std::vector<std::vector<int32_t>> kept(keep.size());
  std::vector<Candidate> candidates;
  size_t room = 0;
  for (size_t head = 0; head < keep.size(); ++head) {
    for (size_t i = 0; i < keep[head].size(); ++i) {
      const float value = keep[head][i];
      candidates.push_back({std::isnan(value) ? -std::numeric_limits<float>::infinity() : value,
                            static_cast<int32_t>(i), static_cast<int32_t>(head)});
    }
    room += selection == Selection::kEverything ? keep[head].size() : static_cast<size_t>(budget);
    if (selection != Selection::kPerHead && head + 1 < keep.size()) continue;
    take_best(candidates, room, kept);
    candidates.clear();
    room = 0;
  }
  for (auto& indices : kept) std::sort(indices.begin(), indices.end());
  return kept;
}

std::vector<float> pool_scores(std::span<const float> scores, int32_t width, Pooling pooling) {
  const auto n = static_cast<int32_t>(scores.size());
  const int32_t reach = width / 2;
  std::vector<float> pooled(scores.size());
  for (int32_t i = 0; i < n; ++i) {
    float value = 0;
    for (int32_t j = std::max(0, i - reach); j <= std::min(n - 1, i + reach); ++j) {
      const float x = scores[static_cast<size_t>(j)];
      value = pooling == Pooling::kMax ? std::max(value, x) : value + x;
    }
    pooled[static_cast<size_t>(i)] = pooling == Pooling::kMax ? value : value / static_cast<float>(width);
  }
  return pooled;
}

}  // namespace recalld::episodes
