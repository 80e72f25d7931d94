// Rows, pages and bases that the reference codecs are tested on.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/codecs/low_rank.h"
#include "bench/codecs/reference_codec.h"
#include "bench/codecs/references.h"

namespace recalld::bench {

struct Rows {
  std::vector<float> k, v;
};

struct Shape {
  int tokens, heads, dims;
  size_t size() const { return static_cast<size_t>(tokens * heads * dims); }
};

inline quant::PageMeta meta_of(const Shape& shape, int32_t start = 0) {
  quant::PageMeta meta;
  meta.n_tokens = shape.tokens;
  meta.n_kv_heads = shape.heads;
  meta.head_dim = shape.dims;
  meta.rope_start = start;
  return meta;
}

// Three directions that all rows of a head share, a little noise, and every 97th number far out.
inline std::vector<float> low_rank_rows(const Shape& shape, uint64_t seed, float outlier = 30) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> directions(static_cast<size_t>(3 * shape.heads * shape.dims)), out(shape.size());
  for (float& x : directions) x = normal(random);
  for (int row = 0; row < shape.tokens * shape.heads; ++row) {
    const float weights[3] = {3 * normal(random), 2 * normal(random), normal(random)};
    for (int dim = 0; dim < shape.dims; ++dim) {
      float& x = out[static_cast<size_t>(row * shape.dims + dim)];
      x = 0.05F * normal(random);
      for (int i = 0; i < 3; ++i)
        x += weights[i] * directions[static_cast<size_t>((i * shape.heads + row % shape.heads) * shape.dims + dim)];
    }
  }
  for (size_t i = 0; i < out.size(); i += 97) out[i] = i % 2 == 0 ? outlier : -outlier;
  return out;
}

inline PaluBases random_bases(const Shape& shape) {
  PaluBases bases;
  PaluLayer& layer = bases.layers.emplace_back();
  layer.n_kv_heads = shape.heads;
  layer.head_dim = shape.dims;
  kernels::RopeSpec rope{.n_dims = shape.dims, .neox = true, .inv_freq = {}};
  for (int i = 0; i < shape.dims / 2; ++i)
    rope.inv_freq.push_back(std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(shape.dims)));
  layer.rope = std::make_shared<kernels::RopeSpec>(std::move(rope));
  for (int head = 0; head < shape.heads; head += kPaluGroup) {
    const int n_heads = std::min(kPaluGroup, shape.heads - head), width = n_heads * shape.dims;
    const std::vector<double> basis = random_orthonormal(width, width, 5);
    layer.groups.push_back({head, n_heads, {basis.begin(), basis.end()}, {basis.begin(), basis.end()}});
  }
  return bases;
}

inline std::shared_ptr<const quant::Codec> make(const std::string& name, const Shape& shape) {
  const PaluBases bases = needs_palu_bases(name) ? random_bases(shape) : PaluBases();
  return make_references(name, 1, &bases).value().front();
}

inline Rows through(const quant::Codec& codec, const quant::PageMeta& meta, const Rows& rows) {
  AlignedBuffer page(codec.page_bytes(meta.n_kv_heads, meta.head_dim, meta.n_tokens));
  const Status status = codec.encode_page(meta, rows.k.data(), rows.v.data(), page.span());
  EXPECT_TRUE(status.ok()) << codec.name() << ": " << status.to_string();
  Rows back{std::vector<float>(rows.k.size()), std::vector<float>(rows.v.size())};
  EXPECT_TRUE(codec.decode_page(quant::verify_page(page.span()).value(), back.k.data(), back.v.data()).ok());
  return back;
}

inline double error(const std::vector<float>& x, const std::vector<float>& back) {
  double error = 0, square = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += std::pow(static_cast<double>(x[i]) - back[i], 2);
    square += static_cast<double>(x[i]) * x[i];
  }
  return error / square;
}

inline size_t counted(const quant::Codec& codec, const quant::PageMeta& meta) {
  return dynamic_cast<const ReferenceCodec&>(codec).counted_bytes(meta);
}

}  // namespace recalld::bench
