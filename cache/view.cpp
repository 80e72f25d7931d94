#include "cache/view.h"

#include <algorithm>

namespace recalld::cache {

int32_t View::tokens(int layer) const {
  int32_t count = 0;
  for (const PagePtr& page : layers[static_cast<size_t>(layer)]) count += page->meta().n_tokens;
  return count;
}

int32_t View::extent() const {
  int32_t longest = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) longest = std::max(longest, tokens(static_cast<int>(layer)));
  return longest;
}

size_t View::bytes() const {
  size_t sum = 0;
  for (const auto& pages : layers)
    for (const PagePtr& page : pages) sum += page->bytes();
  return sum;
}

}  // namespace recalld::cache
