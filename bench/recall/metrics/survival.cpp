#include "bench/recall/metrics/survival.h"

#include <algorithm>
#include <cmath>

namespace recalld::bench {
namespace {

int64_t overlap(const TokenRange& a, const TokenRange& b) {
  return std::max<int64_t>(0, std::min(a.end(), b.end()) - std::max(a.first, b.first));
}

}  // namespace

double share_in_ranges(std::span<const TokenRange> ranges, std::span<const TokenRange> evidence) {
  int64_t kept = 0, all = 0;
  for (const TokenRange& wanted : evidence) {
    all += wanted.n;
    int64_t found = 0;
    for (const TokenRange& range : ranges) found += overlap(range, wanted);
    kept += std::min(found, wanted.n);
  }
  return all == 0 ? 0 : static_cast<double>(kept) / static_cast<double>(all);
}

double share_in_view(const cache::View& view, std::span<const TokenRange> evidence) {
  if (view.layers.empty()) return 0;
  double sum = 0;
  std::vector<TokenRange> ranges;
  for (const auto& pages : view.layers) {
    ranges.clear();
    for (const cache::PagePtr& page : pages) ranges.push_back({page->meta().token_start, page->meta().n_tokens});
    sum += share_in_ranges(ranges, evidence);
  }
  return sum / static_cast<double>(view.layers.size());
}

int64_t mean_tokens(const cache::View& view) {
  double sum = 0;
  for (const auto& pages : view.layers) {
    int64_t entries = 0;
    int32_t heads = 0;
    for (const cache::PagePtr& page : pages) {
      entries += int64_t{page->meta().n_tokens} * page->meta().n_kv_heads;
      heads = std::max(heads, page->first_head() + page->meta().n_kv_heads);
    }
    if (heads > 0) sum += static_cast<double>(entries) / heads;
  }
  return view.layers.empty() ? 0 : std::llround(sum / static_cast<double>(view.layers.size()));
}

}  // namespace recalld::bench
