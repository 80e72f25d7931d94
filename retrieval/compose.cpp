#include "retrieval/compose.h"

#include <algorithm>

namespace recalld::retrieval {

std::vector<size_t> choose_recent(std::span<const PageGroup> groups, int64_t max_tokens) {
  std::vector<size_t> chosen;
  int64_t room = max_tokens;
  for (size_t i = 0; i < groups.size(); ++i) {
    if (!groups[i].pinned) continue;
    chosen.push_back(i);
    room -= groups[i].n_tokens;
  }
  for (size_t i = groups.size(); i-- > 0;) {
    if (groups[i].pinned) continue;
    if (groups[i].n_tokens > room) break;
    chosen.push_back(i);
    room -= groups[i].n_tokens;
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
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
