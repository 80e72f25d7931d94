// Rows are taken in strips: the scores of a strip over all keys stay in the second-level cache between the product,
// the softmax and the reduction, and each tile of keys is expanded once per strip.
#include "kernels/key_weights.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/key_weights.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#if HWY_TARGET != HWY_SCALAR
#include "kernels/cpu/expand_tile-inl.h"
#include "kernels/cpu/multiply-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace recalld::kernels::HWY_NAMESPACE {
#if HWY_TARGET == HWY_SCALAR

// No vectors to fill: the plain loops will do.
void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights, AttendScratch&) {
  reference::key_weights(shape, queries, pages, reduce, weights);
}

#else

constexpr int kStripRows = 4 * kPanelRows;

// A tile of a page: columns [column, column + kTileTokens) of the strip's scores, of which n are keys.
struct Tile {
  const PageSlice* page;
  int token;
  int n;
  size_t column;
};

class Strip {
 public:
  Strip(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages, AttendScratch& scratch)
      : shape_(shape), queries_(queries), pages_(pages), head_dim_(static_cast<size_t>(shape.head_dim)) {
    for (const PageSlice& page : pages) columns_ += static_cast<size_t>(round_up(page.n_tokens, kTileTokens));
    const size_t floats = kStripRows * columns_ + columns_ + head_dim_ * (kTileTokens + 1);
    scores_ = reinterpret_cast<float*>(scratch.reserve(floats * sizeof(float)));
    reduced_ = scores_ + kStripRows * columns_;
    k_ = reduced_ + columns_;
    mean_ = k_ + head_dim_ * kTileTokens;
    std::fill_n(reduced_, columns_, 0.0F);
  }

  void run(size_t row, int n_rows, WeightReduce reduce) {
    for_each_tile([&](const Tile& tile) { score(tile, row, n_rows); });
    for (int r = 0; r < n_rows; ++r) {
      float* scores = scores_ + static_cast<size_t>(r) * columns_;
      if (!finite(row + static_cast<size_t>(r))) continue;
      if (reduce == WeightReduce::kMax)
        add<WeightReduce::kMax>(scores);
      else
        add<WeightReduce::kSum>(scores);
    }
  }

  void write(WeightReduce reduce, float* weights) const {
    for_each_tile([&](const Tile& tile) {
      for (int t = 0; t < tile.n; ++t, ++weights) {
        const float x = reduced_[tile.column + static_cast<size_t>(t)];
        *weights = reduce == WeightReduce::kMax ? std::max(*weights, x) : *weights + x;
      }
    });
  }

 private:
  template <class Visit>
  void for_each_tile(const Visit& visit) const {
    size_t column = 0;
    for (const PageSlice& page : pages_)
      for (int token = 0; token < page.n_tokens; token += kTileTokens, column += kTileTokens)
        visit(Tile{&page, token, std::min(kTileTokens, page.n_tokens - token), column});
  }

  const float* q(int variant, size_t row) const {
    const size_t n_rows = static_cast<size_t>(queries_.n_tokens) * static_cast<size_t>(shape_.n_group);
    return queries_.q + (static_cast<size_t>(variant) * n_rows + row) * head_dim_;
  }
  int64_t position(size_t row) const { return queries_.positions[row / static_cast<size_t>(shape_.n_group)]; }

  bool finite(size_t row) const {
    return std::all_of(pages_.begin(), pages_.end(),
                       [&](const PageSlice& page) { return all_finite(q(page.variant, row), shape_.head_dim); });
  }

  // Scaled scores of the rows over one tile, minus infinity where a row does not see.
  void score(const Tile& tile, size_t row, int n_rows) {
    const F32 d;
    const PageSlice& page = *tile.page;
    if (tile.token == 0)
      for (int j = 0; j < shape_.head_dim; j += kLanes)
        hn::Store(page.k_mean == nullptr ? hn::Zero(d) : load_halves(page.k_mean + j), d, mean_ + j);
    expand_keys(page, tile.token, padded_tokens(tile.n) / kTokenGroup, mean_, shape_.head_dim, k_);
    const Vf scale = hn::Set(d, shape_.scale);
    for (int r = 0; r < n_rows; r += kPanelRows) {
      float* to = scores_ + static_cast<size_t>(r) * columns_ + tile.column;
      const Product product{
          q(page.variant, row + static_cast<size_t>(r)), head_dim_, k_, kTileTokens, to, columns_, shape_.head_dim};
      multiply<false>(product, std::min(kPanelRows, n_rows - r), kTileTokens);
    }
    for (int r = 0; r < n_rows; ++r) {
      float* to = scores_ + static_cast<size_t>(r) * columns_ + tile.column;
      for (int t = 0; t < kTileTokens; t += kLanes) hn::Store(hn::Mul(hn::Load(d, to + t), scale), d, to + t);
      const auto [first, last] =
          visible_keys(page.view_start + tile.token, tile.n, position(row + static_cast<size_t>(r)), shape_.window);
      std::fill(to, to + first, kNegativeInfinity);
      std::fill(to + last, to + kTileTokens, kNegativeInfinity);
    }
  }

  // Softmax of one row's scores, reduced into reduced_.
  template <WeightReduce reduce>
  void add(float* HWY_RESTRICT scores) {
    const F32 d;
    Vf top[kParts], sums[kParts];
    for (int i = 0; i < kParts; ++i) top[i] = hn::Set(d, kNegativeInfinity);
    for (size_t c = 0; c < columns_; c += 16)
      for (int i = 0; i < kParts; ++i) top[i] = hn::Max(top[i], hn::Load(d, scores + c + i * kLanes));
    const float highest = fold(top, FoldMax());
    if (highest == kNegativeInfinity) return;
    const Vf base = hn::Set(d, highest);
    for (int i = 0; i < kParts; ++i) sums[i] = hn::Zero(d);
    for (size_t c = 0; c < columns_; c += 16) {
      for (int i = 0; i < kParts; ++i) {
        float* at = scores + c + i * kLanes;
        const Vf x = exact_exp(hn::Sub(hn::Load(d, at), base));
        hn::Store(x, d, at);
        sums[i] = hn::Add(sums[i], x);
      }
    }
    const Vf inverse = hn::Set(d, 1.0F / fold(sums, FoldSum()));
    for (size_t c = 0; c < columns_; c += kLanes) {
      const Vf weight = hn::Mul(hn::Load(d, scores + c), inverse);
      const Vf old = hn::Load(d, reduced_ + c);
      hn::Store(reduce == WeightReduce::kMax ? hn::Max(old, weight) : hn::Add(old, weight), d, reduced_ + c);
    }
  }

  const AttendShape& shape_;
  const QueryBlock& queries_;
  std::span<const PageSlice> pages_;
  size_t head_dim_;
  size_t columns_ = 0;
  float *scores_, *reduced_, *k_, *mean_;  // [kStripRows][columns_], [columns_], [head_dim][kTileTokens], [head_dim]
};

void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights, AttendScratch& scratch) {
  Strip strip(shape, queries, pages, scratch);
  const size_t n_rows = static_cast<size_t>(queries.n_tokens) * static_cast<size_t>(shape.n_group);
  for (size_t row = 0; row < n_rows; row += kStripRows)
    strip.run(row, static_cast<int>(std::min<size_t>(kStripRows, n_rows - row)), reduce);
  strip.write(reduce, weights);
}

#endif
}  // namespace recalld::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace recalld::kernels {

HWY_EXPORT(key_weights);

void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights, AttendScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(key_weights)(shape, queries, pages, reduce, weights, scratch);
}

}  // namespace recalld::kernels
#endif
