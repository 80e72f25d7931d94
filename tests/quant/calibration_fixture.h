// A calibration of random maps: two layers, as many heads as asked for.
#pragma once

#include <cmath>
#include <random>

#include "quant/calibration.h"
#include "quant/oscar.h"

namespace recalld::testing {

inline quant::Matrix random_covariance(int d, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto n = static_cast<size_t>(d);
  quant::Matrix sum(n * n);
  for (int row = 0; row < 4 * d; ++row) {
    std::vector<double> x(n);
    for (size_t i = 0; i < n; ++i) x[i] = normal(random) * std::exp(-static_cast<double>(i) / static_cast<double>(n));
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) sum[i * n + j] += x[i] * x[j];
  }
  return sum;
}

inline std::vector<float> identity_map(int d) {
  const auto n = static_cast<size_t>(d);
  std::vector<float> map(n * n);
  for (size_t i = 0; i < n; ++i) map[i * n + i] = 1;
  return map;
}

inline quant::SideMap random_map(int d, uint64_t seed) {
  const quant::Eigen eigen = quant::symmetric_eigen(d, random_covariance(d, seed));
  std::vector<double> roots;
  for (const double value : eigen.values) roots.push_back(std::sqrt(value));
  const quant::Matrix forward = quant::spectral(d, eigen, roots);
  quant::SideMap map;
  for (int i = 0; i < d; ++i) map.variances.push_back(std::exp(-4.0F * static_cast<float>(i) / static_cast<float>(d)));
  map.forward = {forward.begin(), forward.end()};
  return map;
}

inline quant::Calibration random_calibration(int d, int n_heads) {
  quant::Calibration calibration;
  calibration.model = {7, 9};
  calibration.model_name = "a model";
  calibration.text = "a text";
  for (uint64_t layer = 0; layer < 2; ++layer) {
    quant::LayerCalibration& to = calibration.layers.emplace_back();
    to.head_dim = d;
    to.rope.n_dims = d;
    to.rope.neox = layer == 1;
    for (int i = 0; i < d / 2; ++i)
      to.rope.inv_freq.push_back(std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(d)));
    for (int head = 0; head < n_heads; ++head) {
      const uint64_t seed = layer * 100 + static_cast<uint64_t>(head) * 10;
      quant::HeadCalibration& made = to.heads.emplace_back();
      for (int i = 0; i < d; ++i) {
        made.key_mean.push_back(0.1F * static_cast<float>(i % 5));
        made.k_energy.push_back(static_cast<float>(1 + i * 7 % d));
        made.v_energy.push_back(static_cast<float>(1 + i * 11 % d));
      }
      made.k = random_map(d, seed + 1);
      made.v = random_map(d, seed + 2);
    }
    for (quant::LayerBits& bits : to.bits) {
      bits.k.assign(static_cast<size_t>(d / quant::kBitsBlock), 2);
      bits.v = bits.k;
      bits.k[0] = 4;
    }
    const bool whole = (d & (d - 1)) == 0;
    const quant::Matrix k = whole ? quant::oscar_rotation(d, random_covariance(d, layer + 50)) : quant::Matrix();
    to.oscar_k.assign(static_cast<size_t>(d) * static_cast<size_t>(d), 0);
    if (whole) to.oscar_k = {k.begin(), k.end()};
    to.oscar_v = to.oscar_k;
  }
  return calibration;
}

// As one that comes from a file.
inline std::shared_ptr<const quant::Calibration> filed(const quant::Calibration& calibration) {
  return quant::parse_calibration(quant::write_calibration(calibration).value()).value();
}

}  // namespace recalld::testing
