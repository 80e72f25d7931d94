#include "cache/view.h"

#include <algorithm>

#include "quant/none16.h"

namespace recalld::cache {

int32_t View::tokens(int layer) const {
  std::vector<int32_t> counts;
  for (const PagePtr& page : layers[static_cast<size_t>(layer)]) {
    const auto first = static_cast<size_t>(page->first_head());
    const auto last = first + static_cast<size_t>(page->meta().n_kv_heads);
    if (counts.size() < last) counts.resize(last);
    for (size_t head = first; head < last; ++head) counts[head] += page->meta().n_tokens;
  }
  return counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
}

int32_t View::extent() const {
  if (placement == Placement::kAsRotated) return query_start;
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

CodecPlan plain_plan(size_t n_layers) {
  return {.layers = std::vector<std::shared_ptr<const quant::Codec>>(n_layers, std::make_shared<quant::None16>())};
}

}  // namespace recalld::cache
