#include "cache/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace recalld::cache {
namespace {

constexpr int32_t kRowsPerJob = 128;

}  // namespace

LayerPlan::LayerPlan(int layer, const LayerShape& shape, const std::vector<PagePtr>& pages, Placement placement,
                     int32_t start)
    : layer_(layer),
      head_dim_(shape.head_dim),
      placement_(placement),
      start_(start),
      tokens_(static_cast<size_t>(shape.n_kv_heads)),
      slices_(static_cast<size_t>(shape.n_kv_heads)) {
  variants_.push_back({0, nullptr, kernels::RopeShift(*shape.rope, 0)});
  for (const PagePtr& page : pages) append(shape, *page);
}

void LayerPlan::append(const LayerShape& shape, const Page& page) {
  const quant::Codec* codec = page.codec().plain_basis() ? nullptr : &page.codec();
  // Pages from disk bring codec objects of their own. Those that decode alike must share a space: the order of
  // additions, and so the result, depends on the spaces.
  if (codec != nullptr)
    for (const quant::Codec* known : spaces_)
      if (known != nullptr && known->tag() == codec->tag()) codec = known;
  const auto first_head = static_cast<size_t>(page.first_head());
  const bool compact = placement_ == Placement::kCompact;
  const int32_t start = compact ? start_ + tokens_[first_head] : page.meta().rope_start;
  const int32_t shift = page.meta().rope_start - page.codec().key_origin(page.meta()) - start;
  auto variant = std::find_if(variants_.begin(), variants_.end(),
                              [&](const Variant& v) { return v.shift == shift && v.codec == codec; });
  if (variant == variants_.end()) {
    variants_.push_back({shift, codec, kernels::RopeShift(*shape.rope, shift)});
    variant = variants_.end() - 1;
  }
  auto space = std::find(spaces_.begin(), spaces_.end(), codec);
  if (space == spaces_.end()) space = spaces_.insert(spaces_.end(), codec);
  for (int index = 0; index < page.meta().n_kv_heads; ++index) {
    const size_t head = first_head + static_cast<size_t>(index);
    kernels::PageSlice slice = page.view().slice(index);
    if (const uint16_t* mean = page.codec().key_mean(static_cast<int>(head)); mean != nullptr) slice.k_mean = mean;
    slice.view_start = start;
    slice.variant = static_cast<int32_t>(variant - variants_.begin());
    slice.space = static_cast<int32_t>(space - spaces_.begin());
    slices_[head].push_back(slice);
    tokens_[head] += page.meta().n_tokens;
  }
}

int32_t LayerPlan::tokens() const { return *std::max_element(tokens_.begin(), tokens_.end()); }

void LayerPlan::make_variants(int head, int n_rows, const float* in, const std::vector<uint8_t>& used,
                              float* out) const {
  const size_t plane = static_cast<size_t>(n_rows) * static_cast<size_t>(head_dim_);
  for (size_t i = 0; i < variants_.size(); ++i) {
    if (used[i] == 0) continue;
    float* rows = out + i * plane;
    variants_[i].rope.rotate(n_rows, head_dim_, in, static_cast<size_t>(head_dim_), rows);
    if (variants_[i].codec != nullptr)
      variants_[i].codec->transform_queries(layer_, head, head_dim_, n_rows, rows, rows);
  }
}

void LayerPlan::join_spaces(int head, int n_rows, float* acc) const {
  const size_t plane = static_cast<size_t>(n_rows) * static_cast<size_t>(head_dim_);
  for (size_t space = 1; space < spaces_.size(); ++space) {
    float* coded = acc + space * plane;
    spaces_[space]->restore_outputs(layer_, head, head_dim_, n_rows, coded);
    for (size_t i = 0; i < plane; ++i) acc[i] += coded[i];
  }
}

void gather_rows(const LayerShape& shape, int head, const float* q, int32_t n_tokens, std::vector<float>& rows) {
  const size_t group = static_cast<size_t>(shape.n_heads / shape.n_kv_heads);
  const size_t dims = static_cast<size_t>(shape.head_dim);
  const size_t token_floats = group * dims;
  rows.resize(static_cast<size_t>(n_tokens) * token_floats);
  for (size_t t = 0; t < static_cast<size_t>(n_tokens); ++t)
    std::memcpy(rows.data() + t * token_floats,
                q + (t * static_cast<size_t>(shape.n_heads) + static_cast<size_t>(head) * group) * dims,
                token_floats * sizeof(float));
}

StepAttention::StepAttention() : threads_(kMaxThreads) {}

void StepAttention::begin(const CacheShape& shape, const std::vector<LayerPlan>& plans, const WorkingRows& rows,
                          int32_t rows_start, int32_t first_position, int32_t n_tokens) {
  shape_ = &shape;
  plans_ = &plans;
  rows_ = &rows;
  rows_start_ = rows_start;
  n_tokens_ = n_tokens;
  positions_.resize(static_cast<size_t>(n_tokens));
  for (int32_t i = 0; i < n_tokens; ++i) positions_[static_cast<size_t>(i)] = first_position + i;
  if (next_job_.size() != plans.size()) next_job_ = std::vector<std::atomic<int32_t>>(plans.size());
  size_t floats = 0;
  for (size_t layer = 0; layer < plans.size(); ++layer) {
    const LayerShape& dims = shape.layers[layer];
    const size_t row = 2 + static_cast<size_t>(plans[layer].n_spaces()) * static_cast<size_t>(dims.head_dim);
    floats = std::max(floats, row * static_cast<size_t>(dims.n_heads) * static_cast<size_t>(n_tokens) *
                                  static_cast<size_t>(cut(static_cast<int>(layer)).n_key_jobs));
  }
  if (partials_.size() < floats) partials_.resize(floats);
}

StepAttention::Cut StepAttention::cut(int layer) const {
  const LayerShape& dims = shape_->layers[static_cast<size_t>(layer)];
  Cut cut;
  if (n_tokens_ <= kDecodeTokens && !uniform_) {
    int32_t keys = (*plans_)[static_cast<size_t>(layer)].tokens() + rows_->size();
    if (dims.window > 0) keys = std::min(keys, dims.window + n_tokens_);
    cut.tokens_per_job = n_tokens_;
    cut.n_key_jobs = std::max(1, (keys + kKeysPerJob - 1) / kKeysPerJob);
  } else {
    cut.tokens_per_job = std::max(16, kRowsPerJob / (dims.n_heads / dims.n_kv_heads));
    cut.n_token_jobs = (n_tokens_ + cut.tokens_per_job - 1) / cut.tokens_per_job;
  }
  return cut;
}

void StepAttention::reset_layer(int layer) {
  next_job_[static_cast<size_t>(layer)].store(0, std::memory_order_relaxed);
}

void StepAttention::collect(int layer, int head, int32_t position, int piece, int n_pieces,
                            std::vector<kernels::PageSlice>& out) const {
  const LayerPlan& plan = (*plans_)[static_cast<size_t>(layer)];
  const int32_t window = shape_->layers[static_cast<size_t>(layer)].window;
  out = plan.slices(head);
  rows_->append_slices(layer, head, rows_start_, out);
  if (window > 0)
    std::erase_if(out, [&](const auto& slice) { return slice.view_start + slice.n_tokens <= position - window + 1; });
  if (n_pieces == 1) return;
  // Pieces follow the running token count, so that each holds about kKeysPerJob keys and slices stay whole.
  int32_t before = 0;
  auto keep = out.begin();
  for (const kernels::PageSlice& slice : out) {
    if (std::min(before / kKeysPerJob, n_pieces - 1) == piece) *keep++ = slice;
    before += slice.n_tokens;
  }
  out.erase(keep, out.end());
}

kernels::AttendState StepAttention::state(int layer, int head, int key_job, int32_t first_token) const {
  const LayerShape& dims = shape_->layers[static_cast<size_t>(layer)];
  const LayerPlan& plan = (*plans_)[static_cast<size_t>(layer)];
  const Cut cut = this->cut(layer);
  const auto group = static_cast<size_t>(dims.n_heads / dims.n_kv_heads);
  const auto n_tokens = static_cast<size_t>(n_tokens_);
  const size_t row = 2 + static_cast<size_t>(plan.n_spaces()) * static_cast<size_t>(dims.head_dim);
  // States of one token job lie together: [key job][head][token job] blocks of m, l, acc.
  const size_t rows_before =
      (static_cast<size_t>(key_job) * static_cast<size_t>(dims.n_kv_heads) + static_cast<size_t>(head)) * n_tokens *
          group +
      static_cast<size_t>(first_token) * group;
  const size_t job_rows = static_cast<size_t>(std::min(cut.tokens_per_job, n_tokens_ - first_token)) * group;
  float* base = partials_.data() + rows_before * row;
  return {plan.n_spaces(), base, base + job_rows, base + 2 * job_rows};
}

void StepAttention::partial(int layer, const float* q, int ith) {
  const LayerShape& dims = shape_->layers[static_cast<size_t>(layer)];
  const LayerPlan& plan = (*plans_)[static_cast<size_t>(layer)];
  const int32_t group = dims.n_heads / dims.n_kv_heads;
  const Cut cut = this->cut(layer);
  const int32_t n_jobs = dims.n_kv_heads * cut.n_token_jobs * cut.n_key_jobs;
  ThreadScratch& scratch = threads_[static_cast<size_t>(ith)];
  auto& next = next_job_[static_cast<size_t>(layer)];
  for (int32_t job; (job = next.fetch_add(1, std::memory_order_relaxed)) < n_jobs;) {
    const int32_t key_job = job % cut.n_key_jobs;
    const int32_t head = job / cut.n_key_jobs % dims.n_kv_heads;
    // Late tokens see the most keys: they go first, so that no thread is left with a long job at the end.
    const int32_t token_job = cut.n_token_jobs - 1 - job / cut.n_key_jobs / dims.n_kv_heads;
    const int32_t first = token_job * cut.tokens_per_job;
    const int32_t count = std::min(cut.tokens_per_job, n_tokens_ - first);
    const int32_t n_rows = count * group;

    const ptrdiff_t token_floats = static_cast<ptrdiff_t>(dims.n_heads) * dims.head_dim;
    gather_rows(dims, head, q + first * token_floats, count, scratch.rows);
    collect(layer, head, positions_[static_cast<size_t>(first)], key_job, cut.n_key_jobs, scratch.slices);
    scratch.used.assign(static_cast<size_t>(plan.n_variants()), 0);
    for (const kernels::PageSlice& slice : scratch.slices) scratch.used[static_cast<size_t>(slice.variant)] = 1;
    scratch.variants.resize(static_cast<size_t>(plan.n_variants()) * scratch.rows.size());
    plan.make_variants(head, n_rows, scratch.rows.data(), scratch.used, scratch.variants.data());
    const kernels::AttendState state = this->state(layer, head, key_job, first);
    kernels::reset_state(state, n_rows, dims.head_dim);
    const kernels::AttendShape shape{dims.head_dim, group, dims.scale, dims.window};
    const kernels::QueryBlock queries{count, positions_.data() + first, scratch.variants.data()};
    if (uniform_)
      kernels::attend_block(shape, queries, scratch.slices, state, scratch.attend);
    else
      kernels::attend(shape, queries, scratch.slices, state, scratch.attend);
  }
}

void StepAttention::finish(int layer, float* out, int ith, int nth) {
  const LayerShape& dims = shape_->layers[static_cast<size_t>(layer)];
  const LayerPlan& plan = (*plans_)[static_cast<size_t>(layer)];
  const int32_t group = dims.n_heads / dims.n_kv_heads;
  const Cut cut = this->cut(layer);
  const int32_t n_jobs = dims.n_kv_heads * cut.n_token_jobs;
  for (int32_t job = ith; job < n_jobs; job += nth) {
    const int32_t head = job % dims.n_kv_heads;
    const int32_t first = job / dims.n_kv_heads * cut.tokens_per_job;
    const int32_t count = std::min(cut.tokens_per_job, n_tokens_ - first);
    const int32_t n_rows = count * group;
    const kernels::AttendState whole = state(layer, head, 0, first);
    for (int32_t key_job = 1; key_job < cut.n_key_jobs; ++key_job)
      kernels::merge_state(whole, state(layer, head, key_job, first), n_rows, dims.head_dim);
    plan.join_spaces(head, n_rows, whole.acc);
    for (int32_t row = 0; row < n_rows; ++row) {
      const int32_t token = first + row / group;
      const int32_t query_head = head * group + row % group;
      const float inverse = whole.l[row] > 0 ? 1.0F / whole.l[row] : whole.l[row];
      const float* from = whole.acc + static_cast<ptrdiff_t>(row) * dims.head_dim;
      float* to = out + (static_cast<ptrdiff_t>(token) * dims.n_heads + query_head) * dims.head_dim;
      for (int32_t dim = 0; dim < dims.head_dim; ++dim) to[dim] = from[dim] * inverse;
    }
  }
}

}  // namespace recalld::cache
