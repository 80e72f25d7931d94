#include "episodes/policies/policy_cache.h"

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

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

namespace {

// Changes a decoded page before it is coded again: its place (meta) and its numbers.
using PageChange = std::function<void(const cache::Page& page, quant::PageMeta& meta, std::vector<float>& k)>;

Result<PolicyCache> rewrite(const PolicyCache& cache, const cache::CodecPlan& plan, cache::MemoryPool& pool,
                            const PageChange& change) {
  if (plan.layers.size() != cache.view.layers.size())
    return invalid_argument("a codec plan of " + std::to_string(plan.layers.size()) + " layers for a cache of " +
                            std::to_string(cache.view.layers.size()));
  PolicyCache result = cache;
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
    for (cache::PagePtr& page : result.view.layers[layer]) {
      quant::PageMeta meta = page->meta();
      k.resize(static_cast<size_t>(meta.n_tokens) * static_cast<size_t>(meta.n_kv_heads) *
               static_cast<size_t>(meta.head_dim));
      v.resize(k.size());
      RECALLD_RETURN_IF_ERROR(page->codec().decode_page(page->view(), k.data(), v.data()));
      change(*page, meta, k);
      const size_t size = codec->page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens);
      const std::span<std::byte> out = shared->span().subspan(offset, size);
      RECALLD_RETURN_IF_ERROR(codec->encode_page(meta, k.data(), v.data(), out));
      RECALLD_ASSIGN_OR_RETURN(const quant::PageView view, quant::parse_page(out));
      page = std::make_shared<cache::Page>(shared, view, codec, page->first_head());
      offset += size;
    }
  }
  return result;
}

}  // namespace

Result<PolicyCache> recode(const PolicyCache& cache, const cache::CodecPlan& plan, cache::MemoryPool& pool) {
  return rewrite(cache, plan, pool, [](const cache::Page&, quant::PageMeta&, std::vector<float>&) {});
}

Result<PolicyCache> compacted(const PolicyCache& cache, const cache::CacheShape& shape, cache::MemoryPool& pool) {
  int32_t extent = 0;
  for (size_t layer = 0; layer < cache.view.layers.size(); ++layer)
    extent = std::max(extent, cache.view.tokens(static_cast<int>(layer)));
  // How many entries of its head stand before a page, by its layer and head; pages of a head come in order.
  std::map<std::pair<int32_t, int32_t>, size_t> before;
  const PageChange move = [&](const cache::Page& page, quant::PageMeta& meta, std::vector<float>& k) {
    const auto& positions = cache.positions[static_cast<size_t>(meta.layer)][static_cast<size_t>(page.first_head())];
    size_t& first = before[{meta.layer, page.first_head()}];
    const int32_t start = extent - static_cast<int32_t>(positions.size());
    const kernels::RopeSpec& rope = *shape.layers[static_cast<size_t>(meta.layer)].rope;
    for (int32_t i = 0; i < meta.n_tokens; ++i) {
      const auto index = static_cast<int32_t>(first) + i;
      float* key = k.data() + static_cast<ptrdiff_t>(i) * meta.head_dim;
      const int32_t offset = start + index - positions[static_cast<size_t>(index)];
      kernels::RopeShift(rope, offset).rotate(1, meta.head_dim, key, static_cast<size_t>(meta.head_dim), key);
    }
    meta.rope_start = start + static_cast<int32_t>(first);
    first += static_cast<size_t>(meta.n_tokens);
  };
  RECALLD_ASSIGN_OR_RETURN(PolicyCache result, rewrite(cache, cache::plain_plan(cache.view.layers.size()), pool, move));
  result.view.query_start = extent;
  return result;
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
