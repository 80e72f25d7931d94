#include "episodes/policies/policy_cache.h"

#include <algorithm>

namespace recalld::episodes {

int64_t PolicyCache::n_entries() const {
  int64_t count = 0;
  for (const auto& layer : positions)
    for (const auto& head : layer) count += static_cast<int64_t>(head.size());
  return count;
}

double PolicyCache::entries_per_head(int layer) const {
  const auto& heads = positions[static_cast<size_t>(layer)];
  size_t count = 0;
  for (const auto& head : heads) count += head.size();
  return heads.empty() ? 0 : static_cast<double>(count) / static_cast<double>(heads.size());
}

Result<PolicyCache> recode(const PolicyCache& cache, const cache::CodecPlan& plan, cache::MemoryPool& pool) {
  if (plan.layers.size() != cache.view.layers.size())
    return invalid_argument("a codec plan of " + std::to_string(plan.layers.size()) + " layers for a cache of " +
                            std::to_string(cache.view.layers.size()));
  PolicyCache coded = cache;
  std::vector<float> k, v;
  for (size_t layer = 0; layer < plan.layers.size(); ++layer) {
    const auto& codec = plan.layers[layer];
    size_t bytes = 0;
    for (const cache::PagePtr& page : cache.view.layers[layer])
      bytes += codec->page_bytes(page->meta().n_kv_heads, page->meta().head_dim, page->meta().n_tokens);
    if (bytes == 0) continue;
    RECALLD_ASSIGN_OR_RETURN(cache::PooledBuffer buffer, pool.allocate(bytes));
    const auto shared = std::make_shared<cache::PooledBuffer>(std::move(buffer));
    size_t offset = 0;
    for (cache::PagePtr& page : coded.view.layers[layer]) {
      const quant::PageMeta meta = page->meta();
      k.resize(static_cast<size_t>(meta.n_tokens) * static_cast<size_t>(meta.n_kv_heads) *
               static_cast<size_t>(meta.head_dim));
      v.resize(k.size());
      RECALLD_RETURN_IF_ERROR(page->codec().decode_page(page->view(), k.data(), v.data()));
      const size_t size = codec->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
      const std::span<std::byte> out = shared->span().subspan(offset, size);
      RECALLD_RETURN_IF_ERROR(codec->encode_page(meta, k.data(), v.data(), out));
      RECALLD_ASSIGN_OR_RETURN(const quant::PageView view, quant::parse_page(out));
      page = std::make_shared<cache::Page>(shared, view, codec, page->first_head());
      offset += size;
    }
  }
  return coded;
}

double survival(const PolicyCache& cache, const cache::CacheShape& shape, int32_t first, int32_t last) {
  const bool evicts = std::any_of(shape.layers.begin(), shape.layers.end(),
                                  [](const cache::LayerShape& layer) { return layer.window == 0; });
  int64_t kept = 0, possible = 0;
  for (size_t layer = 0; layer < cache.positions.size(); ++layer) {
    if (evicts && shape.layers[layer].window > 0) continue;
    for (const auto& head : cache.positions[layer]) {
      kept += std::lower_bound(head.begin(), head.end(), last) - std::lower_bound(head.begin(), head.end(), first);
      possible += last - first;
    }
  }
  return possible == 0 ? 0 : static_cast<double>(kept) / static_cast<double>(possible);
}

}  // namespace recalld::episodes
