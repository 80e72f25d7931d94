// The encoder's choices for one side of a page: steps, basis, learner, and the best path through the trellis. A part of
// quant/archive.h.
#pragma once

#include <span>
#include <vector>

#include "kernels/transform.h"
#include "quant/archive_walk.h"

namespace recalld::quant::archive {

enum class StepRule : uint8_t {
  kBySide,  // one step for all tokens of a head, from their energy about their mean
  kByRow,   // in proportion to each token's length
};

// For the keys or the values of a chunk, page by page.
class SideEncoder {
 public:
  // error: the mean squared error aimed at, over the energy that the rule names.
  explicit SideEncoder(double error) : error_(error) {}

  // bases: the rows in each basis that may be chosen, [tokens][heads][dims] each, of equal lengths; empty ones may not.
  SideCode encode(StepRule rule, int n_tokens, int n_heads, int n_dims, std::span<const std::vector<float>> bases);

 private:
  // Rows of one head in steps of their own.
  struct Rows {
    std::vector<float> numbers;  // [tokens][dims]
    std::vector<float> steps;    // [tokens], over the side's; 0: a zero row
  };

  HeadCode steps_of(StepRule rule, int n_tokens, int n_dims, const float* rows, size_t stride) const;
  void set_trend(SideCode& code);
  static Rows scaled(const HeadCode& head, int n_dims, const float* rows, size_t stride);
  static double bits_of(const Rows& rows, int n_dims, int learner, HeadCode& head);
  void quantize(const Rows& rows, int n_dims, int learner, HeadCode& head);

  double error_;
  std::vector<int> row_steps_;  // of the head coded last
  TrellisQuantizer quantizer_;
};

}  // namespace recalld::quant::archive
