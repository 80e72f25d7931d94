#include "bench/codecs/palu_bases.h"

#include <algorithm>

#include "episodes/calibration/capture.h"
#include "episodes/calibration/moments.h"
#include "quant/linear_algebra.h"

namespace recalld::bench {
namespace {

constexpr size_t kPiece = 2048;
// Keeps the directions that no text has used orthogonal to the others.
constexpr double kDamping = 1e-6;

size_t width_of(const PaluLayer& layer, const PaluGroup& group) {
  return static_cast<size_t>(group.n_heads) * static_cast<size_t>(layer.head_dim);
}

struct Moments {
  quant::Matrix k, v;
};

// Of a group's columns of rows [n][stride]: the lower half of the sum of outer products.
void add_moments(size_t n, size_t stride, size_t width, const float* x, quant::Matrix& sum) {
  for (size_t row = 0; row < n; ++row)
    for (size_t i = 0; i < width; ++i) {
      const double factor = x[row * stride + i];
      for (size_t j = 0; j <= i; ++j) sum[i * width + j] += factor * static_cast<double>(x[row * stride + j]);
    }
}

std::vector<float> directions(size_t width, quant::Matrix moments) {
  for (size_t i = 0; i < width; ++i)
    for (size_t j = 0; j < i; ++j) moments[j * width + i] = moments[i * width + j];
  const int n = static_cast<int>(width);
  const quant::Eigen eigen = quant::symmetric_eigen(n, quant::damped(n, std::move(moments), kDamping));
  return {eigen.vectors.begin(), eigen.vectors.end()};
}

PaluBases empty_bases(const cache::CacheShape& shape) {
  PaluBases bases;
  for (const cache::LayerShape& from : shape.layers) {
    PaluLayer& layer = bases.layers.emplace_back();
    layer.n_kv_heads = from.n_kv_heads;
    layer.head_dim = from.head_dim;
    layer.rope = from.rope;
    for (int head = 0; head < from.n_kv_heads; head += kPaluGroup)
      layer.groups.push_back({head, std::min(kPaluGroup, from.n_kv_heads - head), {}, {}});
  }
  return bases;
}

}  // namespace

void turn_keys(const PaluLayer& layer, int n_tokens, int32_t start, int direction, float* keys) {
  if (layer.rope != nullptr)
    kernels::rotate_tokens(*layer.rope, n_tokens, start, direction, layer.n_kv_heads, layer.head_dim, keys);
}

Result<PaluBases> measure_palu_bases(runtime::Engine& engine, const std::vector<std::vector<int32_t>>& texts,
                                     const std::function<void(size_t)>& on_piece) {
  constexpr auto kSkipped = static_cast<size_t>(episodes::kSkippedTokens);
  PaluBases bases = empty_bases(engine.model().cache_shape());
  std::vector<std::vector<Moments>> sums(bases.layers.size());
  for (size_t index = 0; index < sums.size(); ++index)
    for (const PaluGroup& group : bases.layers[index].groups) {
      const size_t width = width_of(bases.layers[index], group);
      sums[index].push_back({quant::Matrix(width * width), quant::Matrix(width * width)});
    }
  size_t read = 0;
  for (const std::vector<int32_t>& text : texts)
    // A last piece that has nothing to count is not read.
    for (size_t first = 0; first + kSkipped < text.size(); first += kPiece) {
      const size_t count = std::min(kPiece, text.size() - first);
      RECALLD_ASSIGN_OR_RETURN(episodes::Capture rows,
                               episodes::capture(engine, std::span(text).subspan(first, count), [](int32_t) {}));
      for (size_t index = 0; index < sums.size(); ++index) {
        const PaluLayer& layer = bases.layers[index];
        const size_t stride = static_cast<size_t>(layer.n_kv_heads) * static_cast<size_t>(layer.head_dim);
        turn_keys(layer, static_cast<int>(count), 0, -1, rows.layers[index].k.data());
        for (size_t i = 0; i < layer.groups.size(); ++i) {
          const PaluGroup& group = layer.groups[i];
          const size_t from = kSkipped * stride + static_cast<size_t>(group.first_head * layer.head_dim);
          const size_t width = width_of(layer, group);
          add_moments(count - kSkipped, stride, width, rows.layers[index].k.data() + from, sums[index][i].k);
          add_moments(count - kSkipped, stride, width, rows.layers[index].v.data() + from, sums[index][i].v);
        }
      }
      read += count;
      on_piece(read);
    }
  if (read == 0) return invalid_argument("the texts of a calibration are too short");
  for (size_t index = 0; index < sums.size(); ++index)
    for (size_t i = 0; i < sums[index].size(); ++i) {
      PaluGroup& group = bases.layers[index].groups[i];
      const size_t width = width_of(bases.layers[index], group);
      group.k = directions(width, std::move(sums[index][i].k));
      group.v = directions(width, std::move(sums[index][i].v));
    }
  return bases;
}

}  // namespace recalld::bench
