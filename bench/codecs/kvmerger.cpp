#include "bench/codecs/kvmerger.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace recalld::bench {
namespace {

// One KV head's rows of a page.
struct Rows {
  float *keys, *values;
  size_t n, dims, stride;
  const float* key(size_t token) const { return keys + token * stride; }
};

double dot(const Rows& rows, size_t i, size_t j) {
  double sum = 0;
  for (size_t dim = 0; dim < rows.dims; ++dim) sum += static_cast<double>(rows.key(i)[dim]) * rows.key(j)[dim];
  return sum;
}

double cosine(const Rows& rows, size_t i, size_t j) {
  const double lengths = std::sqrt(dot(rows, i, i) * dot(rows, j, j));
  return lengths > 0 ? dot(rows, i, j) / lengths : 0;
}

double distance_squared(const Rows& rows, size_t i, size_t j) {
  double sum = 0;
  for (size_t dim = 0; dim < rows.dims; ++dim)
    sum += std::pow(static_cast<double>(rows.key(i)[dim]) - static_cast<double>(rows.key(j)[dim]), 2);
  return sum;
}

// True where a token belongs to the set of the one before it: at the n - kept most similar pairs, the first of equals.
std::vector<bool> joined(const Rows& rows, size_t kept) {
  std::vector<double> similarity(rows.n);
  for (size_t token = 1; token < rows.n; ++token) similarity[token] = cosine(rows, token - 1, token);
  std::vector<size_t> order(rows.n - 1);
  std::iota(order.begin(), order.end(), size_t{1});
  std::ranges::stable_sort(order, [&](size_t i, size_t j) { return similarity[i] > similarity[j]; });
  std::vector<bool> joins(rows.n);
  for (size_t i = 0; i < rows.n - kept; ++i) joins[order[i]] = true;
  return joins;
}

size_t pivot_of(const Rows& rows, size_t first, size_t end) {
  size_t best = first;
  double best_similarity = -2, best_length = 0;
  for (size_t i = first; i < end; ++i) {
    // A set of two is as similar both ways.
    double similarity = 0;
    for (size_t j = first; j < end && end - first > 2; ++j) similarity += j == i ? 0 : cosine(rows, i, j);
    const double length = dot(rows, i, i);
    if (similarity < best_similarity || (similarity == best_similarity && length <= best_length)) continue;
    best = i;
    best_similarity = similarity;
    best_length = length;
  }
  return best;
}

// Every member of [first, end) becomes the set's weighted mean.
void merge(const Rows& rows, size_t first, size_t end) {
  const size_t pivot = pivot_of(rows, first, end);
  std::vector<double> weights(end - first);
  for (size_t i = first; i < end; ++i) weights[i - first] = distance_squared(rows, pivot, i);
  const double variance =
      std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(weights.size() - 1);
  double sum = 0;
  for (double& weight : weights) sum += weight = variance > 0 ? std::exp(-weight / (2 * variance)) : 1;
  for (float* side : {rows.keys, rows.values})
    for (size_t dim = 0; dim < rows.dims; ++dim) {
      double mean = 0;
      for (size_t i = first; i < end; ++i) mean += weights[i - first] / sum * side[i * rows.stride + dim];
      for (size_t i = first; i < end; ++i) side[i * rows.stride + dim] = static_cast<float>(mean);
    }
}

}  // namespace

Status KvMergerReference::approximate(const quant::PageMeta& meta, std::span<float> keys,
                                      std::span<float> values) const {
  const auto tokens = static_cast<size_t>(meta.n_tokens), dims = static_cast<size_t>(meta.head_dim);
  const size_t stride = static_cast<size_t>(meta.n_kv_heads) * dims;
  for (size_t column = 0; column < stride; column += dims) {
    const Rows rows{keys.data() + column, values.data() + column, tokens, dims, stride};
    const std::vector<bool> joins = joined(rows, kept(tokens));
    for (size_t first = 0, end = 1; first < tokens; first = end++) {
      while (end < tokens && joins[end]) ++end;
      if (end - first > 1) merge(rows, first, end);
    }
  }
  return ok_status();
}

size_t KvMergerReference::counted_bytes(const quant::PageMeta& meta) const {
  const size_t entry = 2 * sizeof(uint16_t) * static_cast<size_t>(meta.head_dim) + 1;
  return quant::kPageHeaderBytes +
         static_cast<size_t>(meta.n_kv_heads) * kept(static_cast<size_t>(meta.n_tokens)) * entry;
}

}  // namespace recalld::bench
