// One layer's attention over a view and working rows: which query variants it needs, how the work is cut into jobs, and
// how the parts are put together. Used by Sequence; pure computation, no ownership of KV.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/shape.h"
#include "cache/view.h"
#include "cache/working_rows.h"
#include "kernels/attend.h"
#include "kernels/rope.h"

namespace recalld::cache {

// What a layer of a view needs of queries and accumulators; rebuilt when the view changes.
class LayerPlan {
 public:
  // In a compact view the first page's token 0 lies at view position `start`.
  LayerPlan(int layer, const LayerShape& shape, const std::vector<PagePtr>& pages, Placement placement, int32_t start);

  // Adds a page at the end of the view.
  void append(const LayerShape& shape, const Page& page);

  // Of the head that has the most.
  int32_t tokens() const;
  // The view position after the last page of a compact view.
  int32_t end() const { return start_ + tokens(); }
  int32_t n_spaces() const { return static_cast<int32_t>(spaces_.size()); }
  int32_t n_variants() const { return static_cast<int32_t>(variants_.size()); }

  // Page slices of one head with their view positions, in view order.
  const std::vector<kernels::PageSlice>& slices(int head) const { return slices_[static_cast<size_t>(head)]; }

  // The variants of n_rows query rows that `used` marks: in [n_rows][head_dim], out [n_variants][n_rows][head_dim],
  // used [n_variants].
  void make_variants(int head, int n_rows, const float* in, const std::vector<uint8_t>& used, float* out) const;

  // acc[n_spaces][n_rows][head_dim] to plain values, summed into plane 0.
  void join_spaces(int head, int n_rows, float* acc) const;

 private:
  struct Variant {
    int32_t shift;
    const quant::Codec* codec;  // null: plain basis
    kernels::RopeShift rope;
  };

  int layer_;
  int32_t head_dim_;
  Placement placement_;
  int32_t start_;
  std::vector<int32_t> tokens_;                          // [n_kv_heads]
  std::vector<Variant> variants_;                        // 0 is unshifted and plain
  std::vector<const quant::Codec*> spaces_{nullptr};     // 0 is plain
  std::vector<std::vector<kernels::PageSlice>> slices_;  // [n_kv_heads]
};

// The rows of one KV head: the queries of its group's heads of each token lie together, tokens in order.
// q: [n_tokens][n_heads][head_dim]; rows: resized to [n_tokens][group][head_dim].
void gather_rows(const LayerShape& shape, int head, const float* q, int32_t n_tokens, std::vector<float>& rows);

// The queries of one step on one layer, cut into jobs that any thread may take. A few tokens are cut along the keys
// (pieces of kKeysPerJob, merged in order), a block along the tokens; neither depends on the number of threads.
class StepAttention {
 public:
  static constexpr int32_t kKeysPerJob = 1024;
  static constexpr int32_t kDecodeTokens = 4;
  static constexpr int kMaxThreads = 64;

  StepAttention();

  // Always cut along the tokens and use the block kernel.
  void set_uniform(bool uniform) { uniform_ = uniform; }

  // Sizes the buffers for n_tokens queries at `first_position`...; called once per step, before any layer.
  void begin(const CacheShape& shape, const std::vector<LayerPlan>& plans, const WorkingRows& rows, int32_t rows_start,
             int32_t first_position, int32_t n_tokens);
  // Makes a layer's jobs available; called by one thread, before any partial() of the layer and after its last use.
  void reset_layer(int layer);
  // Takes jobs until none is left. q as in Sequence::attend_partial.
  void partial(int layer, const float* q, int ith);
  // Merges, undoes the bases and normalises. out as in Sequence::attend_finish.
  void finish(int layer, float* out, int ith, int nth);

 private:
  struct ThreadScratch {
    kernels::AttendScratch attend;
    std::vector<float> rows, variants;
    std::vector<kernels::PageSlice> slices;
    std::vector<uint8_t> used;  // which variants the slices name
  };
  struct Cut {
    int32_t n_token_jobs = 1, tokens_per_job = 1, n_key_jobs = 1;
  };

  Cut cut(int layer) const;
  // The slices of one head, pages then working rows, that queries from `position` on see any key of and that belong to
  // key piece `piece` of n_pieces.
  void collect(int layer, int head, int32_t position, int piece, int n_pieces,
               std::vector<kernels::PageSlice>& out) const;
  kernels::AttendState state(int layer, int head, int key_job, int32_t first_token) const;

  const CacheShape* shape_ = nullptr;
  const std::vector<LayerPlan>* plans_ = nullptr;
  const WorkingRows* rows_ = nullptr;
  int32_t rows_start_ = 0, n_tokens_ = 0;
  bool uniform_ = false;
  std::vector<int32_t> positions_;
  std::vector<std::atomic<int32_t>> next_job_;  // per layer
  std::vector<ThreadScratch> threads_;
  mutable std::vector<float> partials_;
};

}  // namespace recalld::cache
