// What the numbers of a dim are expected to be, given those of the tokens before in the same page: mean and variance of
// each dim, learned on both sides from what was coded. A part of quant/archive.h; docs/archive-format.md has figures.
//
// Numbers of a row come in steps of that row; `step` is the row's step over the side's. Means are kept in steps of the
// side, variances in steps of the rows: a token that is large in all dims has a large step as well.
//
// Stated sequences of IEEE operations: sources that include this are compiled without contraction.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/layout.h"

namespace recalld::quant {

// How fast to learn. A mean is that of the tokens so far and of `mean_doubt` zeros, a token counting `keep` of the next
// one; a variance is that of all tokens but the first and of `variance_doubt` numbers of the prior. Negative: never.
struct Learner {
  float keep = 1, mean_doubt = -1, variance_doubt = -1;
};

// Their numbers stand in archives: entries are never changed, new ones come last.
inline constexpr Learner kLearners[] = {
    {1, -1, -1},          // numbers without structure
    {1, 2, -1},           // a mean of its own in each dim
    {1, 2, 16},           // and a variance
    {15.0F / 16, 2, 4},   // values
    {3.0F / 4, 0.5F, 4},  // keys, which follow their neighbours
    {1.0F / 2, 0.5F, 4},
};
inline constexpr int kLearnersCount = static_cast<int>(std::size(kLearners));

// Variances of the first token, about 0, and of the others, about their mean; in steps^2 of the rows.
struct Prior {
  float first = 1, others = 1;
};

class Expectation {
 public:
  Expectation(const Learner& learner, const Prior& prior, int n_dims)
      : learner_(learner), prior_(prior), n_dims_(n_dims) {}

  // Of the next row, in its steps. mean, variance: [n_dims].
  void next(float step, float* mean, float* variance) {
    const bool learns_mean = learner_.mean_doubt >= 0 && n_rows_ > 0;
    const float of_sum = learns_mean ? 1.0F / ((weight_ + learner_.mean_doubt) * step) : 0.0F;
    const bool learns_variance = learner_.variance_doubt >= 0 && n_rows_ > 1;
    const float rows = static_cast<float>(n_rows_ - 1);
    const float of_squares = learns_variance ? 1.0F / (rows + learner_.variance_doubt) : 0.0F;
    const float prior = n_rows_ == 0 ? prior_.first : prior_.others;
    const float of_prior = learns_variance ? prior * (learner_.variance_doubt * of_squares) : prior;
    for (int j = 0; j < n_dims_; ++j) {
      mean[j] = mean_[j] = std::clamp(sums_[j] * of_sum, -kLargestMean, kLargestMean);
      variance[j] = std::clamp(squares_[j] * of_squares + of_prior, kLeastVariance, kLargestVariance);
    }
  }

  // The row that next() was asked about. row: [n_dims], in its steps.
  void add(float step, const float* row) {
    for (int j = 0; j < n_dims_; ++j) {
      const float error = row[j] - mean_[j];
      if (n_rows_ > 0) squares_[j] += error * error;
      sums_[j] = sums_[j] * learner_.keep + row[j] * step;
    }
    weight_ = weight_ * learner_.keep + 1.0F;
    ++n_rows_;
  }

 private:
  static constexpr float kLargestMean = 1 << 22, kLeastVariance = 0.125F, kLargestVariance = 1e13F;

  Learner learner_;
  Prior prior_;
  int n_dims_, n_rows_ = 0;
  float weight_ = 0;
  float sums_[kernels::kMaxHeadDim] = {}, squares_[kernels::kMaxHeadDim] = {}, mean_[kernels::kMaxHeadDim] = {};
};

}  // namespace recalld::quant
