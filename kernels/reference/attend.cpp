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
  float scale[kMaxBands] = {};
};

// To 8 bits of the largest of each stored band.
RoundedQuery round_query(const float* q, const SideFormat& format, int head_dim) {
  RoundedQuery rounded;
  rounded.codes.resize(static_cast<size_t>(head_dim));
  for (int band = 0; band < format.stored_bands(); ++band) {
    const int first = band_place(format, 0, band).first_dim, end = first + format.bands[band].n_dims;
    float largest = 0;
    for (int j = first; j < end; ++j) largest = std::max(largest, std::fabs(q[j]));
    const QueryScale scale = query_scale(largest);
    rounded.scale[band] = scale.scale;
    for (int j = first; j < end; ++j)
      rounded.codes[static_cast<size_t>(j)] = static_cast<int>(round_even(q[j] * scale.inverse));
  }
  return rounded;
}

// What every score of a page gets, and what each gets times its key's offset.
struct PageScore {
  float mean = 0;
  float per_offset = 0;
};

PageScore page_score(const Row& row, const PageSlice& page, const PageReader& reader) {
  const float* q = row.q(page.variant);
  float means[16] = {}, sums[16] = {};
  for (int j = 0; j < row.shape.head_dim; ++j) {
    means[j % 16] = means[j % 16] + q[j] * reader.k_mean(j);
    sums[j % 16] = sums[j % 16] + q[j];
  }
  return {page.k_mean == nullptr ? 0.0F : fold16(means) * row.shape.scale, fold16(sums) * row.shape.scale};
}

float half_key_score(const Row& row, const PageSlice& page, const PageReader& reader, float mean, int token) {
  float dot = 0;
  for (int j = 0; j < row.shape.head_dim; ++j) dot = std::fma(row.q(page.variant)[j], reader.k_half(token, j), dot);
  return dot * row.shape.scale + mean;
}

float coded_key_score(const Row& row, const PageSlice& page, const PageReader& reader, const RoundedQuery& rounded,
                      const PageScore& same, int token) {
  const SideFormat& format = page.k_format;
  float score = same.mean;
  for (int band = 0; band < format.stored_bands(); ++band) {
    const int first = band_place(format, 0, band).first_dim;
    int dot = 0;
    for (int j = first; j < first + format.bands[band].n_dims; ++j)
      dot += rounded.codes[static_cast<size_t>(j)] * reader.k_level(token, j);
    const float unit = codebook(format.grid, format.bands[band].bits).unit;
    const float factor = rounded.scale[band] * (row.shape.scale * unit);
    score = (static_cast<float>(dot) * factor) * reader.k_scale(token, band) + score;
  }
  if (page.k_offset != nullptr) score = reader.k_offset(token) * same.per_offset + score;
  return score;
}

// A weight in steps of the largest; 0 for what no page of ours holds (scales below zero or not a number).
int weight_code(float steps) { return steps > 0 ? static_cast<int>(round_even(std::min(steps, 255.0F))) : 0; }

// acc += sum over the tile of p times values, with weights rounded to 8 bits.
void add_coded_values(const PageSlice& page, const PageReader& reader, const float* p, int tile, int n, int head_dim,
                      float* acc) {
  const SideFormat& format = page.v_format;
  for (int band = 0; band < format.stored_bands(); ++band) {
    float weights[kTileTokens];
    float largest = 0;
    for (int t = 0; t < n; ++t) {
      weights[t] = p[t] * reader.v_scale(tile + t, band);
      largest = std::max(largest, weights[t]);
    }
    if (!(largest > 1e-30F)) continue;
    const float inverse = 255.0F / largest;
    const float factor = (largest / 255.0F) * codebook(format.grid, format.bands[band].bits).unit;
    const int first = band_place(format, 0, band).first_dim;
    for (int j = first; j < first + format.bands[band].n_dims; ++j) {
      int sum = 0;
      for (int t = 0; t < n; ++t) sum += weight_code(weights[t] * inverse) * reader.v_level(tile + t, j);
      acc[j] = acc[j] + static_cast<float>(sum) * factor;
    }
  }
  if (page.v_offset == nullptr) return;
  float sums[16] = {};
  for (int t = 0; t < n; ++t) sums[t % 16] = sums[t % 16] + p[t] * reader.v_offset(tile + t);
  const float offset = fold16(sums);
  for (int j = 0; j < head_dim; ++j) acc[j] = acc[j] + offset;
}

// Adds the tile of tokens [tile, tile + n) of a page to a row.
void decode_tile(const Row& row, const PageSlice& page, const PageReader& reader, const RoundedQuery& rounded,
                 const PageScore& same, int tile, int n) {
  const int head_dim = row.shape.head_dim;
  const auto [first, last] = visible_keys(page.view_start + tile, n, row.position(), row.shape.window);
  if (first == last) return;

  float p[kTileTokens];
  std::fill_n(p, kTileTokens, kNegativeInfinity);
  for (int t = first; t < last; ++t)
    p[t] = page.k_format.halves() ? half_key_score(row, page, reader, same.mean, tile + t)
                                  : coded_key_score(row, page, reader, rounded, same, tile + t);

  row.raise_max(*std::max_element(p, p + kTileTokens));
  float sums[16] = {};
  for (int t = 0; t < kTileTokens; ++t) {
    p[t] = exact_exp(p[t] - row.state.m[row.index]);
    sums[t % 16] = sums[t % 16] + p[t];
  }
  row.state.l[row.index] += fold16(sums);

  float* acc = row.acc(page.space);
  if (!page.v_format.halves()) return add_coded_values(page, reader, p, tile, n, head_dim, acc);
  for (int t = 0; t < n; ++t)
    for (int j = 0; j < head_dim; ++j) acc[j] = std::fma(p[t], reader.v_half(tile + t, j), acc[j]);
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
      const RoundedQuery rounded = round_query(row.q(page.variant), page.k_format, shape.head_dim);
      const PageScore same = page_score(row, page, reader);
      for (int tile = 0; tile < page.n_tokens; tile += kTileTokens)
        decode_tile(row, page, reader, rounded, same, tile, std::min(kTileTokens, page.n_tokens - tile));
    }
    if (!finite) row.poison();
  }
}

}  // namespace recalld::kernels::reference
