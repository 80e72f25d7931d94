#include "cache/sequence.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "cache/attention.h"
#include "cache/working_rows.h"

namespace recalld::cache {

struct Sequence::Impl {
  Impl(const CacheShape& cache_shape, std::shared_ptr<MemoryPool> memory)
      : shape(cache_shape), pool(std::move(memory)), rows(shape, pool) {
    view.layers.resize(shape.layers.size());
    rebuild_plans();
  }

  void rebuild_plans() {
    plans.clear();
    rows_start = view.extent();
    for (size_t i = 0; i < shape.layers.size(); ++i) {
      const int layer = static_cast<int>(i);
      const bool newest = view.placement == Placement::kCompact && shape.layers[i].window > 0;
      plans.emplace_back(layer, shape.layers[i], view.layers[i], view.placement,
                         newest ? rows_start - view.tokens(layer) : 0);
    }
  }

  // end: the position that the pages of a kAsRotated view stay before.
  Status check_pages(size_t layer, const std::vector<PagePtr>& pages, Placement placement, int32_t end) const;

  void append_page(size_t layer, PagePtr page) {
    plans[layer].append(shape.layers[layer], *page);
    view.layers[layer].push_back(std::move(page));
  }

  const CacheShape& shape;
  std::shared_ptr<MemoryPool> pool;
  View view;
  std::vector<LayerPlan> plans;
  WorkingRows rows;
  int32_t rows_start = 0;
  int32_t step_tokens = 0;  // rows reserved by begin_step, not yet part of the sequence
  StepAttention attention;
  AttentionObserver* observer = nullptr;
};

Status Sequence::Impl::check_pages(size_t layer, const std::vector<PagePtr>& pages, Placement placement,
                                   int32_t end) const {
  const LayerShape& dims = shape.layers[layer];
  for (const PagePtr& page : pages) {
    const quant::PageMeta& meta = page->meta();
    const bool compact = placement == Placement::kCompact;
    const bool heads_fit = compact ? page->first_head() == 0 && meta.n_kv_heads == dims.n_kv_heads
                                   : page->first_head() + meta.n_kv_heads <= dims.n_kv_heads;
    if (meta.layer != static_cast<int32_t>(layer) || !heads_fit || meta.head_dim != dims.head_dim)
      return invalid_argument("a page of layer " + std::to_string(meta.layer) + " (" + std::to_string(meta.n_kv_heads) +
                              " heads of " + std::to_string(meta.head_dim) + ") in layer " + std::to_string(layer) +
                              " (" + std::to_string(dims.n_kv_heads) + " heads of " + std::to_string(dims.head_dim) +
                              ")");
    if (!compact && meta.rope_start + meta.n_tokens > end)
      return invalid_argument("a page at position " + std::to_string(meta.rope_start) +
                              " of a view whose query starts " + "at " + std::to_string(end));
  }
  return ok_status();
}

Sequence::Sequence(const CacheShape& shape, std::shared_ptr<MemoryPool> pool)
    : impl_(std::make_unique<Impl>(shape, std::move(pool))) {}

Sequence::~Sequence() = default;

const CacheShape& Sequence::shape() const { return impl_->shape; }

Status Sequence::set_view(View view) {
  const size_t n_layers = impl_->shape.layers.size();
  if (view.layers.size() != n_layers)
    return invalid_argument("a view of " + std::to_string(view.layers.size()) + " layers for a model of " +
                            std::to_string(n_layers));
  for (size_t layer = 0; layer < n_layers; ++layer) {
    RECALLD_RETURN_IF_ERROR(impl_->check_pages(layer, view.layers[layer], view.placement, view.query_start));
  }
  impl_->rows.shrink(0);
  impl_->view = std::move(view);
  impl_->rebuild_plans();
  return ok_status();
}

const View& Sequence::view() const { return impl_->view; }

Status Sequence::replace_layer(int layer, std::vector<PagePtr> pages) {
  const auto at = static_cast<size_t>(layer);
  if (impl_->view.placement != Placement::kAsRotated || at >= impl_->shape.layers.size())
    return failed_precondition("layer " + std::to_string(layer) + " cannot be replaced in this view");
  RECALLD_RETURN_IF_ERROR(impl_->check_pages(at, pages, impl_->view.placement, length()));
  impl_->view.layers[at] = std::move(pages);
  impl_->plans[at] = LayerPlan(layer, impl_->shape.layers[at], impl_->view.layers[at], impl_->view.placement, 0);
  return ok_status();
}

int32_t Sequence::length() const { return impl_->rows_start + working_tokens(); }

int32_t Sequence::working_tokens() const { return impl_->rows.size() - impl_->step_tokens; }

size_t Sequence::working_bytes() const { return impl_->rows.bytes(); }

void Sequence::set_uniform(bool uniform) { impl_->attention.set_uniform(uniform); }

void Sequence::set_observer(AttentionObserver* observer) { impl_->observer = observer; }

void Sequence::weigh_keys(int layer, int head, const KeyQueries& queries, int32_t end_key, kernels::WeightReduce reduce,
                          KeyWeightScratch& scratch, std::vector<float>& weights) const {
  const LayerShape& dims = impl_->shape.layers[static_cast<size_t>(layer)];
  const LayerPlan& plan = impl_->plans[static_cast<size_t>(layer)];
  const int32_t group = dims.n_heads / dims.n_kv_heads;
  gather_rows(dims, head, queries.q, queries.n_tokens, scratch.rows);
  scratch.variants.resize(static_cast<size_t>(plan.n_variants()) * scratch.rows.size());
  const std::vector<uint8_t> all(static_cast<size_t>(plan.n_variants()), 1);
  plan.make_variants(head, queries.n_tokens * group, scratch.rows.data(), all, scratch.variants.data());
  scratch.positions.resize(static_cast<size_t>(queries.n_tokens));
  std::iota(scratch.positions.begin(), scratch.positions.end(), queries.first_position);

  scratch.slices = plan.slices(head);
  impl_->rows.append_slices(layer, head, impl_->rows_start, scratch.slices);
  size_t n_keys = 0;
  for (kernels::PageSlice& slice : scratch.slices) {
    slice.n_tokens = std::clamp(end_key - slice.view_start, 0, slice.n_tokens);
    n_keys += static_cast<size_t>(slice.n_tokens);
  }
  if (weights.size() < n_keys) weights.resize(n_keys);
  const kernels::AttendShape shape{dims.head_dim, group, dims.scale, dims.window};
  kernels::key_weights(shape, {queries.n_tokens, scratch.positions.data(), scratch.variants.data()}, scratch.slices,
                       reduce, weights.data(), scratch.kernel);
}

Status Sequence::begin_step(int32_t n_tokens) {
  if (n_tokens <= 0 || impl_->step_tokens != 0) return internal_error("begin_step inside a step or without tokens");
  const int32_t first = length();
  RECALLD_RETURN_IF_ERROR(impl_->rows.grow(n_tokens));
  impl_->step_tokens = n_tokens;
  impl_->attention.begin(impl_->shape, impl_->plans, impl_->rows, impl_->rows_start, first, n_tokens);
  return ok_status();
}

void Sequence::store(int layer, const float* k, const float* v, int ith, int nth) {
  const LayerShape& dims = impl_->shape.layers[static_cast<size_t>(layer)];
  const ptrdiff_t row_floats = static_cast<ptrdiff_t>(dims.n_kv_heads) * dims.head_dim;
  if (ith == 0) impl_->attention.reset_layer(layer);
  const int32_t first = working_tokens();
  for (int32_t i = ith; i < impl_->step_tokens; i += nth)
    impl_->rows.write_row(layer, first + i, k + i * row_floats, v + i * row_floats);
}

void Sequence::attend_partial(int layer, const float* q, int ith, int nth) {
  if (impl_->observer != nullptr) impl_->observer->on_queries(layer, q, impl_->step_tokens, length(), ith, nth);
  impl_->attention.partial(layer, q, ith);
}

void Sequence::attend_finish(int layer, float* out, int ith, int nth) { impl_->attention.finish(layer, out, ith, nth); }

void Sequence::end_step(bool keep) {
  const int32_t kept = keep ? impl_->rows.size() : working_tokens();
  impl_->step_tokens = 0;
  impl_->rows.shrink(kept);
}

Status Sequence::truncate(int32_t length) {
  if (length < impl_->rows_start || length > this->length())
    return invalid_argument("cannot cut a sequence of " + std::to_string(this->length()) + " tokens, " +
                            std::to_string(impl_->rows_start) + " of them in pages, to " + std::to_string(length));
  impl_->rows.shrink(length - impl_->rows_start);
  return ok_status();
}

Status Sequence::read_rows(int layer, int32_t first, int32_t n, float* k, float* v) const {
  if (first < impl_->rows_start || n < 0 || first + n > length())
    return invalid_argument("rows " + std::to_string(first) + " + " + std::to_string(n) + " are not working rows");
  const LayerShape& dims = impl_->shape.layers[static_cast<size_t>(layer)];
  const ptrdiff_t row_floats = static_cast<ptrdiff_t>(dims.n_kv_heads) * dims.head_dim;
  for (int32_t i = 0; i < n; ++i)
    impl_->rows.read_row(layer, first - impl_->rows_start + i, k + i * row_floats, v + i * row_floats);
  return ok_status();
}

namespace {

Result<ChunkPtr> encode_rows(const Sequence& sequence, MemoryPool& pool, int32_t first, int32_t n,
                             const CodecPlan& plan, int64_t token_start, const Digest128& fingerprint) {
  quant::PageMeta meta;
  meta.n_tokens = n;
  meta.rope_start = first;
  meta.token_start = token_start;
  meta.fingerprint = fingerprint;
  const RowReader rows = [&](int layer, float* k, float* v) { return sequence.read_rows(layer, first, n, k, v); };
  return encode_chunk(sequence.shape(), plan, meta, rows, pool);
}

}  // namespace

Result<ChunkPtr> Sequence::freeze(int32_t n, const CodecPlan& plan, int64_t token_start, const Digest128& fingerprint) {
  if (n <= 0 || n > working_tokens() || n > kernels::kMaxPageTokens)
    return invalid_argument("cannot freeze " + std::to_string(n) + " of " + std::to_string(working_tokens()) +
                            " working rows (a page holds at most " + std::to_string(kernels::kMaxPageTokens) + ")");
  for (size_t layer = 0; layer < impl_->plans.size(); ++layer)
    if (impl_->view.placement != Placement::kCompact || impl_->plans[layer].end() != impl_->rows_start)
      return failed_precondition("layers of this view hold different tokens: its rows cannot be frozen in place");
  RECALLD_ASSIGN_OR_RETURN(const ChunkPtr chunk,
                           encode_rows(*this, *impl_->pool, impl_->rows_start, n, plan, token_start, fingerprint));
  RECALLD_RETURN_IF_ERROR(impl_->rows.drop_front(n));
  for (size_t layer = 0; layer < chunk->pages.size(); ++layer) impl_->append_page(layer, chunk->pages[layer]);
  impl_->rows_start += n;
  return chunk;
}

Result<ChunkPtr> Sequence::export_rows(int32_t first, int32_t n, int64_t token_start,
                                       const Digest128& fingerprint) const {
  if (n <= 0 || n > kernels::kMaxPageTokens || first < impl_->rows_start || first + n > length())
    return invalid_argument("cannot export rows " + std::to_string(first) + " + " + std::to_string(n) + " of " +
                            std::to_string(impl_->rows_start) + " to " + std::to_string(length()));
  RECALLD_ASSIGN_OR_RETURN(const auto plain, quant::make_codec("none16"));
  const CodecPlan plan{std::vector(impl_->shape.layers.size(), plain)};
  return encode_rows(*this, *impl_->pool, first, n, plan, token_start, fingerprint);
}

Status Sequence::import_rows(const Chunk& chunk) {
  RECALLD_RETURN_IF_ERROR(check_chunk(impl_->shape, chunk));
  const int32_t n = chunk.n_tokens();
  for (const PagePtr& page : chunk.pages)
    if (page->meta().rope_start != length() || !page->codec().plain_basis())
      return corrupt("exported rows of layer " + std::to_string(page->meta().layer) + " do not continue this sequence");
  const int32_t first = working_tokens();
  RECALLD_RETURN_IF_ERROR(impl_->rows.grow(n));
  std::vector<float> k, v;
  for (size_t layer = 0; layer < chunk.pages.size(); ++layer) {
    const Page& page = *chunk.pages[layer];
    const size_t row_floats = static_cast<size_t>(page.meta().n_kv_heads) * static_cast<size_t>(page.meta().head_dim);
    k.resize(row_floats * static_cast<size_t>(n));
    v.resize(k.size());
    RECALLD_RETURN_IF_ERROR(page.codec().decode_page(page.view(), k.data(), v.data()));
    for (int32_t i = 0; i < n; ++i)
      impl_->rows.write_row(static_cast<int>(layer), first + i, k.data() + static_cast<size_t>(i) * row_floats,
                            v.data() + static_cast<size_t>(i) * row_floats);
  }
  return ok_status();
}

}  // namespace recalld::cache
