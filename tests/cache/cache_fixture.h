// A small made-up model for cache tests, with an attention in double precision that re-rotates the keys itself.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "cache/sequence.h"

namespace recalld::cache {

inline CacheShape make_shape(int n_layers, int n_heads, int n_kv_heads, int head_dim, int window = 0,
                             bool neox = false) {
  CacheShape shape;
  kernels::RopeSpec rope;
  rope.n_dims = head_dim;
  rope.neox = neox;
  for (int i = 0; i < head_dim / 2; ++i)
    rope.inv_freq.push_back(static_cast<float>(std::pow(10000.0, -2.0 * i / head_dim)));
  const auto shared = std::make_shared<const kernels::RopeSpec>(rope);
  for (int layer = 0; layer < n_layers; ++layer)
    shape.layers.push_back(
        {n_heads, n_kv_heads, head_dim, window, 1.0F / std::sqrt(static_cast<float>(head_dim)), shared});
  return shape;
}

using Vectors = std::vector<float>;

// One vector rotated from position 0 to `position`, in double precision.
inline Vectors rotated(const kernels::RopeSpec& rope, const Vectors& x, double position) {
  Vectors out = x;
  const int half = rope.n_dims / 2;
  for (int i = 0; i < half; ++i) {
    const int a = rope.neox ? i : 2 * i, b = rope.neox ? i + half : 2 * i + 1;
    const double angle = position * static_cast<double>(rope.inv_freq[static_cast<size_t>(i)]);
    out[static_cast<size_t>(a)] =
        static_cast<float>(x[static_cast<size_t>(a)] * std::cos(angle) - x[static_cast<size_t>(b)] * std::sin(angle));
    out[static_cast<size_t>(b)] =
        static_cast<float>(x[static_cast<size_t>(a)] * std::sin(angle) + x[static_cast<size_t>(b)] * std::cos(angle));
  }
  return out;
}

// Keys and values of a made-up history before rotation: [token][layer][kv head] vectors.
class History {
 public:
  History(const CacheShape& shape, int n_tokens, uint32_t seed) : shape_(shape) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto vector = [&](int size) {
      Vectors v(static_cast<size_t>(size));
      for (float& x : v) x = normal(random);
      return v;
    };
    for (int t = 0; t < n_tokens; ++t) {
      auto& token = tokens_.emplace_back();
      for (const LayerShape& layer : shape.layers) {
        token.k.push_back(vector(layer.n_kv_heads * layer.head_dim));
        token.v.push_back(vector(layer.n_kv_heads * layer.head_dim));
        token.q.push_back(vector(layer.n_heads * layer.head_dim));
      }
    }
  }

  int size() const { return static_cast<int>(tokens_.size()); }

  // Per-head rotation of a row of heads.
  static Vectors rotate_heads(const kernels::RopeSpec& rope, const Vectors& row, int head_dim, double position) {
    Vectors out;
    for (size_t at = 0; at < row.size(); at += static_cast<size_t>(head_dim)) {
      const Vectors head = rotated(
          rope, Vectors(row.begin() + static_cast<ptrdiff_t>(at), row.begin() + static_cast<ptrdiff_t>(at) + head_dim),
          position);
      out.insert(out.end(), head.begin(), head.end());
    }
    return out;
  }

  // Runs tokens [first, first + n) through one step of the sequence; returns attention outputs [layer][n * heads *
  // dim].
  std::vector<Vectors> step(Sequence& sequence, int first, int n, int nth = 1) const {
    std::vector<Vectors> outputs;
    const int32_t position = sequence.length();
    const Status begun = sequence.begin_step(n);
    if (!begun.ok()) return outputs;
    for (size_t layer = 0; layer < shape_.layers.size(); ++layer) {
      const LayerShape& dims = shape_.layers[layer];
      Vectors k, v, q;
      for (int i = 0; i < n; ++i) {
        const Token& token = tokens_[static_cast<size_t>(first + i)];
        const Vectors rk = rotate_heads(*dims.rope, token.k[layer], dims.head_dim, position + i);
        const Vectors rq = rotate_heads(*dims.rope, token.q[layer], dims.head_dim, position + i);
        k.insert(k.end(), rk.begin(), rk.end());
        q.insert(q.end(), rq.begin(), rq.end());
        v.insert(v.end(), token.v[layer].begin(), token.v[layer].end());
      }
      Vectors out(q.size(), -99.0F);
      const int id = static_cast<int>(layer);
      for (int ith = 0; ith < nth; ++ith) sequence.store(id, k.data(), v.data(), ith, nth);
      for (int ith = 0; ith < nth; ++ith) sequence.attend_partial(id, q.data(), ith, nth);
      for (int ith = 0; ith < nth; ++ith) sequence.attend_finish(id, out.data(), ith, nth);
      outputs.push_back(std::move(out));
    }
    sequence.end_step(true);
    return outputs;
  }

  // What attention of token `query` over `visible` (in view order, ending with the query itself) must be: everything is
  // rotated to its place in the view, then softmax in double precision.
  Vectors expected(size_t layer, int query, const std::vector<int>& visible) const {
    const LayerShape& dims = shape_.layers[layer];
    const int group = dims.n_heads / dims.n_kv_heads;
    const auto place = static_cast<double>(visible.size()) - 1;
    const Vectors q = rotate_heads(*dims.rope, tokens_[static_cast<size_t>(query)].q[layer], dims.head_dim, place);
    std::vector<Vectors> keys;
    for (size_t i = 0; i < visible.size(); ++i)
      keys.push_back(rotate_heads(*dims.rope, tokens_[static_cast<size_t>(visible[i])].k[layer], dims.head_dim,
                                  static_cast<double>(i)));
    Vectors out;
    for (int head = 0; head < dims.n_heads; ++head) {
      const int kv = head / group;
      std::vector<double> scores;
      double top = -1e300;
      for (size_t i = 0; i < visible.size(); ++i) {
        double dot = 0;
        for (int d = 0; d < dims.head_dim; ++d)
          dot += static_cast<double>(q[static_cast<size_t>(head * dims.head_dim + d)]) *
                 static_cast<double>(keys[i][static_cast<size_t>(kv * dims.head_dim + d)]);
        const bool outside = dims.window > 0 && place - static_cast<double>(i) >= dims.window;
        scores.push_back(outside ? -1e300 : dot * static_cast<double>(dims.scale));
        top = std::max(top, scores.back());
      }
      double sum = 0;
      std::vector<double> acc(static_cast<size_t>(dims.head_dim));
      for (size_t i = 0; i < visible.size(); ++i) {
        const double weight = std::exp(scores[i] - top);
        sum += weight;
        for (int d = 0; d < dims.head_dim; ++d)
          acc[static_cast<size_t>(d)] +=
              weight *
              static_cast<double>(
                  tokens_[static_cast<size_t>(visible[i])].v[layer][static_cast<size_t>(kv * dims.head_dim + d)]);
      }
      for (const double x : acc) out.push_back(static_cast<float>(x / sum));
    }
    return out;
  }

 private:
  struct Token {
    std::vector<Vectors> k, v, q;  // [layer]
  };
  const CacheShape& shape_;
  std::vector<Token> tokens_;
};

// |a - b| / |b|.
inline double relative_error(const float* a, const float* b, size_t n) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < n; ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    norm += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / norm);
}

inline CodecPlan plan_of(const CacheShape& shape, const std::string& name) {
  return CodecPlan{std::vector(shape.layers.size(), quant::make_codec(name).value())};
}

}  // namespace recalld::cache
