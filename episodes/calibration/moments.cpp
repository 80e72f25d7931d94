#include "episodes/calibration/moments.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "episodes/calibration/layer_attention.h"
#include "quant/oscar.h"

namespace recalld::episodes {
namespace {

using quant::Matrix;

constexpr int32_t kQueryStep = 16;                              // attention is looked at from every 16th token
constexpr int32_t kFirstQuery = 64;                             // and from where there is some history
constexpr int32_t kTurnedPage = 64;                             // tokens of a usual page
constexpr int32_t kDistances[] = {0, 64, 128, 256, 512, 1024};  // of queries from a page's first token

// sum += sum over rows of weight x x^T.
void add_outer(int d, const float* rows, size_t n_rows, const double* weights, Matrix& sum) {
  const auto n = static_cast<size_t>(d);
  for (size_t row = 0; row < n_rows; ++row) {
    const float* x = rows + row * n;
    for (size_t i = 0; i < n; ++i) {
      const double factor = static_cast<double>(x[i]) * (weights != nullptr ? weights[row] : 1.0);
      double* to = sum.data() + i * n;
      for (size_t j = 0; j < n; ++j) to[j] += factor * x[j];
    }
  }
}

// Rows of one head, rows by tokens, turned back by the first position of their page: pages of kTurnedPage tokens.
void turn_back(const kernels::RopeSpec& rope, int d, std::vector<float>& rows) {
  const size_t page_floats = static_cast<size_t>(kTurnedPage) * static_cast<size_t>(d);
  for (size_t first = 0, page = 0; first < rows.size(); first += page_floats, ++page) {
    const size_t count = std::min(page_floats, rows.size() - first) / static_cast<size_t>(d);
    const kernels::RopeShift turn(rope, -static_cast<int32_t>(page) * kTurnedPage);
    turn.rotate(static_cast<int>(count), d, rows.data() + first, static_cast<size_t>(d), rows.data() + first);
  }
}

// Second moments of queries on their own page, as those of queries at all of kDistances from a page.
Matrix at_distances(const kernels::RopeSpec& rope, int d, const Matrix& moments) {
  const auto n = static_cast<size_t>(d);
  // R M R^T, by rotating the rows of M and those of its transpose.
  const auto rotated = [&](const kernels::RopeShift& turn, const Matrix& m) {
    std::vector<float> rows(m.begin(), m.end());
    turn.rotate(d, d, rows.data(), n, rows.data());
    return quant::transpose(d, Matrix(rows.begin(), rows.end()));
  };
  Matrix sum(n * n);
  for (const int32_t distance : kDistances) {
    const kernels::RopeShift turn(rope, distance);
    const Matrix there = rotated(turn, rotated(turn, moments));
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += there[i] / static_cast<double>(std::size(kDistances));
  }
  return sum;
}

// sum += squares of each channel, less its mean over each page of page_rows (0: as it is).
void add_energies(int d, const float* rows, size_t n_rows, size_t page_rows, std::vector<double>& sum) {
  const auto n = static_cast<size_t>(d);
  const size_t step = page_rows > 0 ? page_rows : n_rows;
  for (size_t first = 0; first < n_rows; first += step) {
    const size_t end = std::min(n_rows, first + step);
    for (size_t i = 0; i < n; ++i) {
      double square = 0, total = 0;
      for (size_t row = first; row < end; ++row) {
        square += static_cast<double>(rows[row * n + i]) * rows[row * n + i];
        total += rows[row * n + i];
      }
      sum[i] += square - (page_rows > 0 ? total * total / static_cast<double>(end - first) : 0);
    }
  }
}

Matrix scaled(Matrix a, double factor) {
  for (double& value : a) value *= factor;
  return a;
}

// W^T S^(1/2) and its variances, with W diag(variances) W^T = S^(1/2) C S^(1/2) (quant/calibration.h).
quant::SideMap side_map(int d, const Matrix& covariance, const Matrix& metric, double damping) {
  const quant::Eigen importance = quant::symmetric_eigen(d, quant::damped(d, metric, damping));
  std::vector<double> roots;
  for (const double value : importance.values) roots.push_back(std::sqrt(value));
  const Matrix root = quant::spectral(d, importance, roots);
  const Matrix c = quant::damped(d, covariance, damping);
  const quant::Eigen joint = quant::symmetric_eigen(d, quant::multiply(d, root, quant::multiply(d, c, root)));
  const Matrix forward = quant::multiply(d, joint.vectors, root);
  quant::SideMap map;
  map.variances = {joint.values.begin(), joint.values.end()};
  map.forward = {forward.begin(), forward.end()};
  return map;
}

}  // namespace

LayerMoments::LayerMoments(const cache::LayerShape& shape, const std::vector<Matrix>& output_metric)
    : shape_(shape), heads_(static_cast<size_t>(shape.n_kv_heads)) {
  const auto d = static_cast<size_t>(shape.head_dim);
  const size_t group = output_metric.size() / heads_.size();
  oscar_values_.resize(d * d);
  for (size_t head = 0; head < heads_.size(); ++head) {
    Matrix& metric = output_metric_.emplace_back(d * d);
    for (size_t g = 0; g < group; ++g)
      for (size_t i = 0; i < metric.size(); ++i)
        metric[i] += output_metric[head * group + g][i] / static_cast<double>(group);
    for (std::vector<double>* sum : {&heads_[head].key_sum, &heads_[head].key_energy, &heads_[head].value_energy})
      sum->resize(d);
    for (Matrix* sum : {&heads_[head].keys, &heads_[head].queries, &heads_[head].turned_queries, &heads_[head].values})
      sum->resize(d * d);
  }
}

void LayerMoments::add(const LayerCapture& rows, int32_t n_tokens) {
  const int d = shape_.head_dim;
  const auto width = static_cast<size_t>(d);
  const auto skip = static_cast<size_t>(kSkippedTokens);
  const auto counted = static_cast<size_t>(n_tokens) - skip;
  const int group = shape_.n_heads / shape_.n_kv_heads;
  for (int index = 0; index < shape_.n_kv_heads; ++index) {
    Head& head = heads_[static_cast<size_t>(index)];
    const HeadAttention attention(shape_, rows, index, 0, std::min(kFirstQuery, n_tokens / 2), kQueryStep);
    const float* keys = attention.keys().data() + skip * width;
    const float* values = attention.values().data() + skip * width;
    std::vector<float> turned = attention.keys();
    turn_back(*shape_.rope, d, turned);
    const float* turned_keys = turned.data() + skip * width;
    add_outer(d, turned_keys, counted, nullptr, head.keys);
    for (size_t i = 0; i < counted * width; ++i) head.key_sum[i % width] += turned_keys[i];
    head.n_keys += static_cast<double>(counted);
    add_energies(d, keys, counted, kTurnedPage, head.key_energy);
    add_energies(d, values, counted, 0, head.value_energy);
    Matrix queries(width * width);
    for (int g = 0; g < group; ++g) {
      std::vector<float> q = head_rows(rows.q, shape_.n_heads, index * group + g, d);
      add_outer(d, q.data() + skip * width, counted, nullptr, queries);
      turn_back(*shape_.rope, d, q);
      add_outer(d, q.data() + skip * width, counted, nullptr, head.turned_queries);
    }
    for (size_t i = 0; i < queries.size(); ++i) head.queries[i] += queries[i];
    head.n_queries += static_cast<double>(counted) * group;

    std::vector<double> weights = attention.summed_weights();
    for (double& weight : weights) weight = std::sqrt(weight);
    add_outer(d, values, counted, weights.data() + skip, head.values);
    for (size_t i = skip; i < weights.size(); ++i) head.value_weight += weights[i];

    // OSCAR weighs a value with the mean squared logit of its key, normalised to a mean of 1 (arXiv 2605.17757).
    std::vector<double> logits(counted);
    double sum = 0;
    for (size_t row = 0; row < counted; ++row) {
      const float* key = keys + row * width;
      for (size_t i = 0; i < width; ++i) {
        double product = 0;
        for (size_t j = 0; j < width; ++j) product += queries[i * width + j] * key[j];
        logits[row] += product * key[i];
      }
      sum += logits[row];
    }
    for (double& weight : logits) weight *= 1 / sum / static_cast<double>(shape_.n_kv_heads);
    add_outer(d, values, counted, logits.data(), oscar_values_);
  }
  oscar_pieces_ += 1;
}

quant::LayerCalibration LayerMoments::calibration(double damping) const {
  const int d = shape_.head_dim;
  const auto width = static_cast<size_t>(d);
  quant::LayerCalibration layer;
  layer.head_dim = d;
  layer.rope = *shape_.rope;
  Matrix oscar_keys(width * width);
  for (size_t index = 0; index < heads_.size(); ++index) {
    const Head& head = heads_[index];
    quant::HeadCalibration& to = layer.heads.emplace_back();
    Matrix covariance = scaled(head.keys, 1 / head.n_keys);
    for (size_t i = 0; i < width; ++i) {
      to.key_mean.push_back(static_cast<float>(head.key_sum[i] / head.n_keys));
      to.k_energy.push_back(static_cast<float>(head.key_energy[i] / head.n_keys));
      to.v_energy.push_back(static_cast<float>(head.value_energy[i] / head.n_keys));
      for (size_t j = 0; j < width; ++j)
        covariance[i * width + j] -= head.key_sum[i] / head.n_keys * head.key_sum[j] / head.n_keys;
    }
    const Matrix queries = scaled(head.queries, 1 / head.n_queries);
    to.k = side_map(d, covariance, at_distances(*shape_.rope, d, scaled(head.turned_queries, 1 / head.n_queries)),
                    damping);
    to.v = side_map(d, scaled(head.values, 1 / head.value_weight), output_metric_[index], damping);
    for (size_t i = 0; i < queries.size(); ++i) oscar_keys[i] += queries[i] / static_cast<double>(heads_.size());
  }
  if (std::has_single_bit(static_cast<unsigned>(d))) {
    const Matrix k = quant::oscar_rotation(d, oscar_keys);
    const Matrix v = quant::oscar_rotation(d, scaled(oscar_values_, 1 / oscar_pieces_));
    layer.oscar_k = {k.begin(), k.end()};
    layer.oscar_v = {v.begin(), v.end()};
  } else {
    layer.oscar_k.resize(width * width);
    layer.oscar_v.resize(width * width);
  }
  return layer;
}

}  // namespace recalld::episodes
