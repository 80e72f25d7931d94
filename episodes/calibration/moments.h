// Second moments of a layer's queries, keys and values over captured texts, and the maps that follow from them.
#pragma once

#include <vector>

#include "cache/shape.h"
#include "episodes/calibration/capture.h"
#include "quant/calibration.h"
#include "quant/linear_algebra.h"

namespace recalld::episodes {

// First tokens of a text, which are kept in 16 bits and unlike all others (docs/page-format.md), are not counted.
inline constexpr int32_t kSkippedTokens = 16;

class LayerMoments {
 public:
  // output_metric: for each query head Wo^T Wo of its part of the output matrix, [head_dim][head_dim].
  LayerMoments(const cache::LayerShape& shape, const std::vector<quant::Matrix>& output_metric);

  // The capture needs more than twice kSkippedTokens tokens. Kept: sums alone.
  void add(const LayerCapture& rows, int32_t n_tokens);

  // Maps and means of every head, and OSCAR's rotations; bits are left empty. damping: share of the mean variance that
  // is added to every direction of both factors of a map, so that directions which the text never used keep a scale.
  quant::LayerCalibration calibration(double damping) const;

 private:
  struct Head {
    double n_keys = 0, n_queries = 0, value_weight = 0;
    std::vector<double> key_sum;                   // turned back
    std::vector<double> key_energy, value_energy;  // by channel; keys as they come, less the mean of their page
    // Sums of outer products. Keys and turned_queries are turned back to the first position of their page; values are
    // weighted with the root of their attention. Squared attention, what an error's square is weighted with, stands on
    // so few tokens of a text that it fits no other text.
    quant::Matrix keys, queries, turned_queries, values;
  };

  cache::LayerShape shape_;
  std::vector<quant::Matrix> output_metric_;  // of each KV head: mean over its group
  std::vector<Head> heads_;
  quant::Matrix oscar_values_;  // sum over heads of V^T diag(w) V / N, by piece
  double oscar_pieces_ = 0;
};

}  // namespace recalld::episodes
