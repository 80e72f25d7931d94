#include "bench/codecs/gear.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "bench/codecs/low_rank.h"
#include "bench/codecs/rounding.h"

namespace recalld::bench {
namespace {

constexpr size_t kOutlierBytes = 4;  // a half and its index

struct Shape {
  size_t tokens, heads, dims;
  size_t width() const { return heads * dims; }
  int rank() const { return static_cast<int>(std::min({static_cast<size_t>(GearReference::kRank), tokens, dims})); }
};

Shape shape_of(const quant::PageMeta& meta) {
  return {static_cast<size_t>(meta.n_tokens), static_cast<size_t>(meta.n_kv_heads), static_cast<size_t>(meta.head_dim)};
}

// At each end of a vector of n numbers.
size_t outliers_of(size_t n) {
  return static_cast<size_t>(std::lround(GearReference::kOutlierShare / 2 * static_cast<double>(n)));
}

// Marks the outliers of n numbers, `stride` apart; of equal ones those that come first count as the lesser.
void mark_outliers(const float* x, size_t stride, size_t n, uint8_t* marks) {
  const size_t count = outliers_of(n);
  if (count == 0) return;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t i, size_t j) { return x[i * stride] < x[j * stride]; });
  for (size_t i = 0; i < count; ++i) marks[order[i] * stride] = marks[order[n - 1 - i] * stride] = 1;
}

// Adds to `coded` what is near `exact` less it, head by head, but for marked numbers.
void add_low_rank(const Shape& shape, std::span<const float> exact, const std::vector<uint8_t>& marks,
                  std::span<float> coded) {
  std::vector<float> residual(shape.tokens * shape.dims);
  for (size_t head = 0; head < shape.heads; ++head) {
    const auto at = [&](size_t token, size_t dim) { return token * shape.width() + head * shape.dims + dim; };
    for (size_t token = 0; token < shape.tokens; ++token)
      for (size_t dim = 0; dim < shape.dims; ++dim) {
        const size_t i = at(token, dim);
        residual[token * shape.dims + dim] = marks[i] != 0 ? 0 : exact[i] - coded[i];
      }
    Factors factors =
        low_rank(static_cast<int>(shape.tokens), static_cast<int>(shape.dims), residual.data(), shape.rank());
    for (std::vector<float>* factor : {&factors.a, &factors.b})
      std::ranges::transform(*factor, factor->begin(), through_half);
    for (size_t rank = 0; rank < static_cast<size_t>(shape.rank()); ++rank)
      for (size_t token = 0; token < shape.tokens; ++token)
        for (size_t dim = 0; dim < shape.dims; ++dim)
          coded[at(token, dim)] += factors.a[rank * shape.tokens + token] * factors.b[rank * shape.dims + dim];
  }
}

}  // namespace

Status GearReference::approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const {
  const Shape shape = shape_of(meta);
  const size_t width = shape.width();
  for (const bool of_keys : {true, false}) {
    const std::span<float> x = of_keys ? keys : values;
    const std::vector<float> exact(x.begin(), x.end());
    std::vector<uint8_t> marks(x.size());
    if (of_keys) {
      for (size_t channel = 0; channel < width; ++channel)
        mark_outliers(&exact[channel], width, shape.tokens, &marks[channel]);
      round_channels(shape.tokens, width, kcvt() ? shape.tokens : kKiviGroup, bits_, x.data(), marks.data());
    } else {
      for (size_t row = 0; row < x.size(); row += width) mark_outliers(&exact[row], 1, width, &marks[row]);
      if (kcvt())
        round_rows(shape.tokens, width, width, bits_, x.data(), marks.data());
      else
        round_rows(shape.tokens * shape.heads, shape.dims, kKiviGroup, bits_, x.data(), marks.data());
    }
    add_low_rank(shape, exact, marks, x);
    for (size_t i = 0; i < x.size(); ++i)
      if (marks[i] != 0) x[i] = exact[i];
  }
  return ok_status();
}

size_t GearReference::counted_bytes(const quant::PageMeta& meta) const {
  const Shape shape = shape_of(meta);
  const size_t codes = 2 * code_bytes(shape.tokens * shape.width(), bits_);
  const size_t key_groups = shape.width() * (kcvt() ? 1 : groups_of(shape.tokens, kKiviGroup));
  const size_t value_groups = shape.tokens * (kcvt() ? 1 : shape.heads * groups_of(shape.dims, kKiviGroup));
  const size_t factors = 2 * shape.heads * static_cast<size_t>(shape.rank()) * (shape.tokens + shape.dims);
  const size_t outliers = 2 * (shape.width() * outliers_of(shape.tokens) + shape.tokens * outliers_of(shape.width()));
  return quant::kPageHeaderBytes + codes + kGroupBytes * (key_groups + value_groups) + 2 * factors +
         kOutlierBytes * outliers;
}

}  // namespace recalld::bench
