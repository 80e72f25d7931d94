#include "episodes/policies/kept_entries.h"

#include <algorithm>

namespace recalld::episodes {

KeptEntries::KeptEntries(const cache::CacheShape& shape, std::shared_ptr<cache::MemoryPool> pool,
                         const Digest128& fingerprint, std::shared_ptr<const quant::Codec> codec)
    : shape_(&shape), pool_(std::move(pool)), fingerprint_(fingerprint), codec_(std::move(codec)) {
  for (const cache::LayerShape& layer : shape.layers) heads_.emplace_back(static_cast<size_t>(layer.n_kv_heads));
}

Result<KeptEntries> KeptEntries::create(const cache::CacheShape& shape, std::shared_ptr<cache::MemoryPool> pool,
                                        const Digest128& fingerprint) {
  RECALLD_ASSIGN_OR_RETURN(auto codec, quant::make_codec("none16"));
  return KeptEntries(shape, std::move(pool), fingerprint, std::move(codec));
}

int64_t KeptEntries::count(size_t layer) const {
  int64_t count = 0;
  for (const Head& head : heads_[layer]) count += static_cast<int64_t>(head.positions.size());
  return count;
}

Result<std::vector<HeadRows>> KeptEntries::gather(const cache::Sequence& sequence, int layer, int32_t start,
                                                  int32_t end) const {
  const auto at = static_cast<size_t>(layer);
  const cache::LayerShape& dims = shape_->layers[at];
  const auto head_dim = static_cast<size_t>(dims.head_dim), n_heads = static_cast<size_t>(dims.n_kv_heads);
  const auto n_new = static_cast<size_t>(end - start);
  std::vector<HeadRows> rows(n_heads);
  for (size_t head = 0; head < n_heads; ++head) {
    rows[head].positions = heads_[at][head].positions;
    rows[head].carried = heads_[at][head].carried;
    const size_t floats = (rows[head].positions.size() + n_new) * head_dim;
    rows[head].keys.reserve(floats);
    rows[head].values.reserve(floats);
  }
  std::vector<float> k, v;
  for (const cache::PagePtr& page : sequence.view().layers[at]) {
    k.resize(static_cast<size_t>(page->meta().n_tokens) * head_dim);
    v.resize(k.size());
    RECALLD_RETURN_IF_ERROR(page->codec().decode_page(page->view(), k.data(), v.data()));
    HeadRows& head = rows[static_cast<size_t>(page->first_head())];
    head.keys.insert(head.keys.end(), k.begin(), k.end());
    head.values.insert(head.values.end(), v.begin(), v.end());
  }
  k.resize(n_new * n_heads * head_dim);
  v.resize(k.size());
  RECALLD_RETURN_IF_ERROR(sequence.read_rows(layer, start, end - start, k.data(), v.data()));
  for (size_t i = 0; i < n_new; ++i) {
    for (size_t head = 0; head < n_heads; ++head) {
      const auto from = static_cast<ptrdiff_t>((i * n_heads + head) * head_dim);
      const auto to = from + static_cast<ptrdiff_t>(head_dim);
      rows[head].positions.push_back(start + static_cast<int32_t>(i));
      rows[head].carried.push_back(0);
      rows[head].keys.insert(rows[head].keys.end(), k.begin() + from, k.begin() + to);
      rows[head].values.insert(rows[head].values.end(), v.begin() + from, v.begin() + to);
    }
  }
  return rows;
}

Result<std::vector<cache::PagePtr>> KeptEntries::keep(int layer, std::span<const HeadRows> rows,
                                                      const std::vector<std::vector<int32_t>>& chosen) {
  const auto at = static_cast<size_t>(layer);
  const auto head_dim = static_cast<size_t>(shape_->layers[at].head_dim);
  const auto page_bytes = [&](size_t n) {
    return codec_->page_bytes(1, static_cast<int>(head_dim), static_cast<int>(n));
  };
  constexpr size_t kPageEntries = kernels::kMaxPageTokens;
  size_t bytes = 0;
  for (const auto& indices : chosen)
    for (size_t first = 0; first < indices.size(); first += kPageEntries)
      bytes += page_bytes(std::min(kPageEntries, indices.size() - first));
  std::vector<cache::PagePtr> pages;
  if (bytes == 0) {
    for (Head& head : heads_[at]) head = {};
    return pages;
  }
  RECALLD_ASSIGN_OR_RETURN(cache::PooledBuffer buffer, pool_->allocate(bytes));
  const auto shared = std::make_shared<cache::PooledBuffer>(std::move(buffer));
  size_t offset = 0;
  std::vector<float> k, v;
  for (size_t head = 0; head < chosen.size(); ++head) {
    const HeadRows& from = rows[head];
    Head kept;
    for (const int32_t index : chosen[head]) {
      kept.positions.push_back(from.positions[static_cast<size_t>(index)]);
      kept.carried.push_back(from.carried[static_cast<size_t>(index)]);
    }
    for (size_t first = 0; first < chosen[head].size(); first += kPageEntries) {
      const size_t n = std::min(kPageEntries, chosen[head].size() - first);
      k.resize(n * head_dim);
      v.resize(n * head_dim);
      for (size_t i = 0; i < n; ++i) {
        const size_t row = static_cast<size_t>(chosen[head][first + i]) * head_dim;
        std::copy_n(from.keys.data() + row, head_dim, k.data() + i * head_dim);
        std::copy_n(from.values.data() + row, head_dim, v.data() + i * head_dim);
      }
      const quant::PageMeta meta{.layer = layer,
                                 .n_kv_heads = 1,
                                 .head_dim = static_cast<int32_t>(head_dim),
                                 .n_tokens = static_cast<int32_t>(n),
                                 .rope_start = kept.positions[first],
                                 .token_start = kept.positions[first],
                                 .fingerprint = fingerprint_};
      const std::span<std::byte> out = shared->span().subspan(offset, page_bytes(n));
      RECALLD_RETURN_IF_ERROR(codec_->encode_page(meta, k.data(), v.data(), out));
      RECALLD_ASSIGN_OR_RETURN(const quant::PageView view, quant::parse_page(out));
      pages.push_back(std::make_shared<cache::Page>(shared, view, codec_, static_cast<int32_t>(head)));
      offset += out.size();
    }
    heads_[at][head] = std::move(kept);
  }
  return pages;
}

}  // namespace recalld::episodes
