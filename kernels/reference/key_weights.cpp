#include "kernels/key_weights.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/reference/page_reader.h"
#include "kernels/visible.h"

namespace recalld::kernels::reference {
namespace {

constexpr double kUnseen = -std::numeric_limits<double>::infinity();

// Scores of one row over all keys; kUnseen where the row does not look. False when a query is not finite.
bool row_scores(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages, int row,
                std::vector<double>& scores) {
  const int n_rows = queries.n_tokens * shape.n_group;
  scores.clear();
  for (const PageSlice& page : pages) {
    const float* q = queries.q + (static_cast<size_t>(page.variant) * n_rows + row) * shape.head_dim;
    if (!std::all_of(q, q + shape.head_dim, [](float x) { return std::isfinite(x); })) return false;
    const PageReader reader(page, shape.head_dim);
    const auto [first, last] =
        visible_keys(page.view_start, page.n_tokens, queries.positions[row / shape.n_group], shape.window);
    for (int t = 0; t < page.n_tokens; ++t) {
      double dot = 0;
      for (int j = 0; j < shape.head_dim; ++j) dot += static_cast<double>(q[j]) * static_cast<double>(reader.k(t, j));
      scores.push_back(t >= first && t < last ? dot * static_cast<double>(shape.scale) : kUnseen);
    }
  }
  return true;
}

}  // namespace

void key_weights(const AttendShape& shape, const QueryBlock& queries, std::span<const PageSlice> pages,
                 WeightReduce reduce, float* weights) {
  std::vector<double> scores;
  for (int row = 0; row < queries.n_tokens * shape.n_group; ++row) {
    if (!row_scores(shape, queries, pages, row, scores) || scores.empty()) continue;
    const double top = *std::max_element(scores.begin(), scores.end());
    if (top == kUnseen) continue;
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - top);
    for (size_t i = 0; i < scores.size(); ++i) {
      const auto weight = static_cast<float>(std::exp(scores[i] - top) / sum);
      weights[i] = reduce == WeightReduce::kMax ? std::max(weights[i], weight) : weights[i] + weight;
    }
  }
}

}  // namespace recalld::kernels::reference
