#include "bench/codecs/palu.h"

#include <algorithm>
#include <cmath>

#include "bench/codecs/low_rank.h"
#include "bench/codecs/rounding.h"

namespace recalld::bench {
namespace {

constexpr uint64_t kSeed = 0x7061'6c75u;

// The first `rank` rows, mixed by an orthogonal matrix.
std::vector<float> mixed(size_t rank, size_t width, const std::vector<float>& basis) {
  const std::vector<double> rotation = random_orthonormal(static_cast<int>(rank), static_cast<int>(rank), kSeed);
  std::vector<float> out(rank * width);
  for (size_t i = 0; i < rank; ++i)
    for (size_t j = 0; j < rank; ++j) {
      const auto factor = static_cast<float>(rotation[i * rank + j]);
      for (size_t column = 0; column < width; ++column) out[i * width + column] += factor * basis[j * width + column];
    }
  return out;
}

}  // namespace

PaluReference::PaluReference(const PaluSettings& settings, const PaluLayer& layer)
    : ReferenceCodec(settings.name), settings_(settings), layer_(layer) {
  layer_.groups.clear();
  for (const PaluGroup& group : layer.groups) {
    const auto dims = static_cast<size_t>(layer.head_dim);
    Projection& to = projections_.emplace_back();
    to.first = static_cast<size_t>(group.first_head) * dims;
    to.width = static_cast<size_t>(group.n_heads) * dims;
    const auto held = static_cast<size_t>(rank(to.width));
    to.k = group.k;
    to.v = group.v;
    for (std::vector<float>* basis : {&to.k, &to.v}) {
      basis->resize(held * to.width);
      if (settings_.bits < 16) *basis = mixed(held, to.width, *basis);
    }
  }
}

int PaluReference::rank(size_t width) const {
  return std::max(1, static_cast<int>(std::lround((1 - settings_.left_out) * static_cast<double>(width))));
}

// rows: [n_tokens][n_kv_heads][head_dim].
void PaluReference::project(size_t n_tokens, const Projection& group, const std::vector<float>& basis,
                            float* rows) const {
  const size_t stride = static_cast<size_t>(layer_.n_kv_heads) * static_cast<size_t>(layer_.head_dim);
  std::vector<float> latent(static_cast<size_t>(rank(group.width)));
  for (size_t token = 0; token < n_tokens; ++token) {
    float* const row = rows + token * stride + group.first;
    for (size_t i = 0; i < latent.size(); ++i) {
      double sum = 0;
      for (size_t j = 0; j < group.width; ++j) sum += static_cast<double>(basis[i * group.width + j]) * row[j];
      latent[i] = settings_.bits < 16 ? static_cast<float>(sum) : through_half(static_cast<float>(sum));
    }
    if (settings_.bits < 16) round_group(latent.data(), 1, latent.size(), settings_.bits);
    std::fill_n(row, group.width, 0.0F);
    for (size_t i = 0; i < latent.size(); ++i)
      for (size_t j = 0; j < group.width; ++j) row[j] += latent[i] * basis[i * group.width + j];
  }
}

Status PaluReference::approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const {
  if (meta.n_kv_heads != layer_.n_kv_heads || meta.head_dim != layer_.head_dim)
    return invalid_argument(name() + ": a page of " + std::to_string(meta.n_kv_heads) + " heads of " +
                            std::to_string(meta.head_dim) + " dims; the basis is of " +
                            std::to_string(layer_.n_kv_heads) + " of " + std::to_string(layer_.head_dim));
  const auto tokens = static_cast<size_t>(meta.n_tokens);
  turn_keys(layer_, meta.n_tokens, meta.rope_start, -1, keys.data());
  for (const Projection& group : projections_) {
    project(tokens, group, group.k, keys.data());
    project(tokens, group, group.v, values.data());
  }
  turn_keys(layer_, meta.n_tokens, meta.rope_start, 1, keys.data());
  return ok_status();
}

size_t PaluReference::counted_bytes(const quant::PageMeta& meta) const {
  const auto tokens = static_cast<size_t>(meta.n_tokens);
  size_t bytes = quant::kPageHeaderBytes;
  for (const Projection& group : projections_)
    bytes += 2 * (code_bytes(tokens * static_cast<size_t>(rank(group.width)), settings_.bits) +
                  (settings_.bits < 16 ? tokens * kGroupBytes : 0));
  return bytes;
}

}  // namespace recalld::bench
