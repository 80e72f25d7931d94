#include "retrieval/compose.h"

#include <algorithm>

namespace recalld::retrieval {

std::pair<size_t, size_t> groups_of(std::span<const PageGroup> groups, int32_t segment) {
  const auto first = std::lower_bound(groups.begin(), groups.end(), segment,
                                      [](const PageGroup& group, int32_t s) { return group.segment < s; });
  const auto end = std::upper_bound(first, groups.end(), segment,
                                    [](int32_t s, const PageGroup& group) { return s < group.segment; });
  return {static_cast<size_t>(first - groups.begin()), static_cast<size_t>(end - groups.begin())};
}

size_t recent_from(std::span<const PageGroup> groups, int64_t max_tokens) {
  size_t from = groups.size();
  for (int64_t room = max_tokens; from > 0; --from) {
    const PageGroup& group = groups[from - 1];
    room -= group.n_tokens;
    if (group.pinned || room < 0) break;
  }
  return from;
}

std::vector<size_t> choose_recent(std::span<const PageGroup> groups, int64_t max_tokens) {
  std::vector<size_t> chosen;
  int64_t room = max_tokens;
  for (size_t i = 0; i < groups.size() && groups[i].pinned; ++i) {
    chosen.push_back(i);
    room -= groups[i].n_tokens;
  }
  for (size_t i = recent_from(groups, room); i < groups.size(); ++i) chosen.push_back(i);
  return chosen;
}

std::vector<size_t> view_groups_for(std::span<const PageGroup> groups, std::span<const int32_t> segments,
                                    size_t recent) {
  std::vector<size_t> chosen;
  std::vector<bool> taken(groups.size(), false);
  for (size_t i = 0; i < groups.size() && groups[i].pinned; ++i) {
    chosen.push_back(i);
    taken[i] = true;
  }
  for (size_t i = recent; i < groups.size(); ++i) taken[i] = true;
  const auto add_date_of = [&](size_t group) {
    while (group > 0 && !groups[group].date) --group;
    if (!groups[group].date || taken[group]) return;
    chosen.push_back(group);
    taken[group] = true;
  };
  for (const int32_t segment : segments) {
    const auto [first, end] = groups_of(groups, segment);
    if (first == end) continue;
    add_date_of(first);
    for (size_t i = first; i < end; ++i) {
      if (taken[i]) continue;
      chosen.push_back(i);
      taken[i] = true;
    }
  }
  if (recent < groups.size()) add_date_of(recent);
  for (size_t i = recent; i < groups.size(); ++i)
    if (!groups[i].pinned) chosen.push_back(i);
  return chosen;
}

int64_t tokens_of(std::span<const PageGroup> groups, std::span<const size_t> chosen) {
  int64_t sum = 0;
  for (const size_t i : chosen) sum += groups[i].n_tokens;
  return sum;
}

cache::View compose(std::span<const PageGroup> groups, std::span<const size_t> chosen, size_t n_layers) {
  cache::View view;
  view.layers.resize(n_layers);
  for (const size_t index : chosen)
    for (const cache::PagePtr& page : groups[index].chunk->pages)
      view.layers[static_cast<size_t>(page->meta().layer)].push_back(page);
  return view;
}

}  // namespace recalld::retrieval
