// One sequence's KV cache: a view of immutable pages, then 16-bit working rows, per layer.
//
// View positions are compact: 0, 1, 2 ... over the pages in view order and then the working rows. A page keeps the
// positions its keys were rotated at; the difference to its place in the view is its shift, and queries are rotated by
// it (once per distinct shift), never the keys. Layers may hold different pages and token counts; positions of the
// working rows are common to all layers: they start at the extent of the longest one.
//
// A layer with a sliding window of w sees the last w view positions alone. If it holds fewer tokens than the longest
// layer, they are the newest: they end where the working rows begin, not start at 0. So such a layer needs no pages
// from extent - w + 1 back: no query at or after the view's end sees them. Pages out of reach of a step are skipped.
//
// A view may also leave every key where it was rotated (Placement::kAsRotated); view positions are then those of the
// text.
//
// Threads: one owner thread calls everything but store/attend_partial/attend_finish, which are called between
// begin_step and end_step from the threads of the compute graph, each with its own ith of nth.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "cache/attention_observer.h"
#include "cache/chunk.h"
#include "cache/shape.h"
#include "cache/view.h"
#include "kernels/key_weights.h"

namespace recalld::cache {

// Rotated queries of consecutive tokens: q is [n_tokens][n_heads][head_dim].
struct KeyQueries {
  const float* q = nullptr;
  int32_t n_tokens = 0;
  int32_t first_position = 0;
};

// Of Sequence::weigh_keys; grows as needed and is reused. One per thread.
struct KeyWeightScratch {
  kernels::AttendScratch kernel;
  std::vector<float> rows, variants;
  std::vector<int32_t> positions;
  std::vector<kernels::PageSlice> slices;
};

class Sequence {
 public:
  // shape outlives the sequence. Every byte of working rows is drawn from pool.
  Sequence(const CacheShape& shape, std::shared_ptr<MemoryPool> pool);
  ~Sequence();
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const CacheShape& shape() const;

  // Replaces the view. Pages must be of this shape's layers. Drops all working rows.
  Status set_view(View view);
  const View& view() const;
  // Replaces the pages of one layer of a kAsRotated view; working rows stay. The pages may hold copies of rows that are
  // still working rows, provided that set_view drops those before the next step. Errors as set_view.
  Status replace_layer(int layer, std::vector<PagePtr> pages);

  // View position of the next token.
  int32_t length() const;
  // Working rows held (tokens), and bytes allocated for them over all layers.
  int32_t working_tokens() const;
  size_t working_bytes() const;

  // Attend in blocks even for a few tokens, so that what a token computes does not depend on how many are read with it.
  void set_uniform(bool uniform);

  // Shows every later step's queries to the observer, which outlives them; nullptr for none. Results do not change.
  void set_observer(AttentionObserver* observer);
  // What queries give to the keys of one KV head (kernels/key_weights.h): page entries in view order, then working
  // rows, a step's own among them, those before view position end_key (never inside the pages). weights grows to the
  // number of these keys, new ones 0, and is updated. Any thread, also from AttentionObserver::on_queries.
  void weigh_keys(int layer, int head, const KeyQueries& queries, int32_t end_key, kernels::WeightReduce reduce,
                  KeyWeightScratch& scratch, std::vector<float>& weights) const;

  // Reserves rows for n tokens at view positions [length, length + n) in every layer.
  // kResourceExhausted when the pool's hard limit would be passed; nothing is changed then.
  Status begin_step(int32_t n_tokens);

  // --- from the compute graph, between begin_step and end_step ---
  // k, v: [n_tokens][n_kv_heads][head_dim] f32, keys rotated at the view positions of the step. Rounded to 16 bits.
  void store(int layer, const float* k, const float* v, int ith, int nth);
  // q: [n_tokens][n_heads][head_dim] f32, rotated at the same positions. Every ith of nth must call; all store calls of
  // the layer happen before, all attend_partial calls of the layer before the first attend_finish.
  void attend_partial(int layer, const float* q, int ith, int nth);
  // out: [n_tokens][n_heads * head_dim] f32.
  void attend_finish(int layer, float* out, int ith, int nth);
  // -----------------------------------------------------------------

  // Makes the step's rows part of the sequence (length grows by n) or forgets them.
  void end_step(bool keep);

  // Forgets the newest working rows so that length() becomes `length`. Never reaches into the pages.
  Status truncate(int32_t length);

  // Copies working rows [first, first + n) of one layer as f32: k, v [n][n_kv_heads][head_dim]. first is a view
  // position.
  Status read_rows(int layer, int32_t first, int32_t n, float* k, float* v) const;

  // Codes the n oldest working rows into one page per layer: they leave the working set and end the view. token_start:
  // trunk index of the first of them. n <= kMaxPageTokens. Returns the chunk of the new pages. Compact views only.
  Result<ChunkPtr> freeze(int32_t n, const CodecPlan& plan, int64_t token_start, const Digest128& fingerprint);

  // Working rows [first, first + n) as 16-bit pages, exactly; the sequence is unchanged. first is a view position,
  // n <= kMaxPageTokens, token_start as above.
  Result<ChunkPtr> export_rows(int32_t first, int32_t n, int64_t token_start, const Digest128& fingerprint) const;
  // Takes rows exported by export_rows back as the newest working rows, bit for bit. Their positions must be the next
  // ones of this sequence.
  Status import_rows(const Chunk& chunk);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace recalld::cache
