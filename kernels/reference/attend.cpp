#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attend.h"
#include "kernels/exact_math.h"
#include "kernels/reference/page_reader.h"
#include "kernels/visible.h"

namespace recalld::kernels::reference {
namespace {

// One row of the state and its query.
struct Row {
  const AttendShape& shape;
  const QueryBlock& queries;
  const AttendState& state;
  int index;

  const float* q(int variant) const {
    const int n_rows = queries.n_tokens * shape.n_group;
    return queries.q + (static_cast<size_t>(variant) * n_rows + index) * shape.head_dim;
  }
  float* acc(int space) const {
    const int n_rows = queries.n_tokens * shape.n_group;
    return state.acc + (static_cast<size_t>(space) * n_rows + index) * shape.head_dim;
  }
  int64_t position() const { return queries.positions[index / shape.n_group]; }

  void raise_max(float score) const {
    float& m = state.m[index];
    if (!(score > m)) return;
    const float factor = exact_exp(m - score);
    m = score;
    state.l[index] *= factor;
    for (int space = 0; space < state.n_spaces; ++space)
      for (int j = 0; j < shape.head_dim; ++j) acc(space)[j] *= factor;
  }

  void poison() const {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    state.m[index] = state.l[index] = nan;
    for (int space = 0; space < state.n_spaces; ++space) std::fill_n(acc(space), shape.head_dim, nan);
  }

  bool finite(int variant) const {
    return std::all_of(q(variant), q(variant) + shape.head_dim, [](float x) { return std::isfinite(x); });
  }
};

struct RoundedQuery {
  std::vector<int> codes;
  float scale = 0;
};

RoundedQuery round_query(const float* q, int head_dim) {
  float largest = 0;
  for (int j = 0; j < head_dim; ++j) largest = std::max(largest, std::fabs(q[j]));
  const QueryScale scale = query_scale(largest);
  RoundedQuery rounded;
  rounded.scale = scale.scale;
  for (int j = 0; j < head_dim; ++j) rounded.codes.push_back(static_cast<int>(round_even(q[j] * scale.inverse)));
  return rounded;
}

float mean_score(const Row& row, const PageSlice& page, const PageReader& reader) {
  if (page.k_mean == nullptr) return 0.0F;
  const float* q = row.q(page.variant);
  float sums[16] = {};
  for (int j = 0; j < row.shape.head_dim; ++j) sums[j % 16] = sums[j % 16] + q[j] * reader.k_mean(j);
  return fold16(sums) * row.shape.scale;
}

// Adds the tile of tokens [tile, tile + n) of a page to a row.
void decode_tile(const Row& row, const PageSlice& page, const PageReader& reader, const RoundedQuery& rounded,
                 float mean, int tile, int n) {
  const int head_dim = row.shape.head_dim;
  const auto [first, last] = visible_keys(page.view_start + tile, n, row.position(), row.shape.window);
  if (first == last) return;

  float p[kTileTokens];
  std::fill_n(p, kTileTokens, kNegativeInfinity);
  for (int t = first; t < last; ++t) {
    if (page.k_bits == 16) {
      float dot = 0;
      for (int j = 0; j < head_dim; ++j) dot = std::fma(row.q(page.variant)[j], reader.k_half(tile + t, j), dot);
      p[t] = dot * row.shape.scale + mean;
    } else {
      int dot = 0;
      for (int j = 0; j < head_dim; ++j) dot += rounded.codes[j] * reader.k_level(tile + t, j);
      const float factor = rounded.scale * (row.shape.scale * lloyd_max(page.k_bits).unit);
      p[t] = (static_cast<float>(dot) * factor) * reader.k_scale(tile + t) + mean;
    }
  }

  row.raise_max(*std::max_element(p, p + kTileTokens));
  float sums[16] = {};
  for (int t = 0; t < kTileTokens; ++t) {
    p[t] = exact_exp(p[t] - row.state.m[row.index]);
    sums[t % 16] = sums[t % 16] + p[t];
  }
  row.state.l[row.index] += fold16(sums);

  float* acc = row.acc(page.space);
  if (page.v_bits == 16) {
    for (int t = 0; t < n; ++t)
      for (int j = 0; j < head_dim; ++j) acc[j] = std::fma(p[t], reader.v_half(tile + t, j), acc[j]);
    return;
  }
  float largest = 0;
  for (int t = 0; t < n; ++t) {
    p[t] *= reader.v_scale(tile + t);
    largest = std::max(largest, p[t]);
  }
  if (!(largest > 1e-30F)) return;
  const float inverse = 255.0F / largest;
  const float factor = (largest / 255.0F) * lloyd_max(page.v_bits).unit;
  for (int j = 0; j < head_dim; ++j) {
    int sum = 0;
    for (int t = 0; t < n; ++t) sum += static_cast<int>(round_even(p[t] * inverse)) * reader.v_level(tile + t, j);
    acc[j] = acc[j] + static_cast<float>(sum) * factor;
  }
}

}  // namespace

void attend(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
            const AttendState& state) {
  for (int index = 0; index < queries.n_tokens * shape.n_group; ++index) {
    const Row row{shape, queries, state, index};
    bool finite = true;
    for (const PageSlice& page : pages) {
      finite = finite && row.finite(page.variant);
      const PageReader reader(page, shape.head_dim);
      const auto [first, last] = visible_keys(page.view_start, page.n_tokens, row.position(), shape.window);
      for (int t = first; t < last && finite; ++t) {
        float score = 0;
        for (int j = 0; j < shape.head_dim; ++j) score += row.q(page.variant)[j] * reader.k(t, j);
        score *= shape.scale;
        row.raise_max(score);
        const float p = std::exp(score - state.m[index]);
        state.l[index] += p;
        for (int j = 0; j < shape.head_dim; ++j) row.acc(page.space)[j] += p * reader.v(t, j);
      }
    }
    if (!finite) row.poison();
  }
}

void attend_decode(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                   const AttendState& state) {
  for (int index = 0; index < queries.n_tokens * shape.n_group; ++index) {
    const Row row{shape, queries, state, index};
    bool finite = true;
    for (const PageSlice& page : pages) {
      finite = finite && row.finite(page.variant);
      if (!finite) break;
      const PageReader reader(page, shape.head_dim);
      const RoundedQuery rounded = round_query(row.q(page.variant), shape.head_dim);
      const float mean = mean_score(row, page, reader);
      for (int tile = 0; tile < page.n_tokens; tile += kTileTokens)
        decode_tile(row, page, reader, rounded, mean, tile, std::min(kTileTokens, page.n_tokens - tile));
    }
    if (!finite) row.poison();
  }
}

}  // namespace recalld::kernels::reference
