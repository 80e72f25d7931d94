// Palu (arXiv 2407.21118): of the keys and of the values of a group of KV heads the first r coordinates in a basis of
// the model (palu_bases.h) are held, one vector per token, and keys and values are computed from them when they are
// attended to. palu-50 and palu-30 leave out 50 and 30 % of the coordinates, as the paper names them, and hold the
// others in 16 bits; palu-50-4 and so on (2, 3 or 4 bits) code them, each token's vector in equal steps with one scale
// and zero point, after a rotation that spreads what sticks out.
//
// Keys are stored after rotation here. Each is turned back by its own position before it is projected, and what comes
// of it is turned forth again: the paper's codec of keys before rotation, but for the cache's rounding to 16 bits.
//
// Differs from the paper:
// - Every group of every layer, keys and values alike, has the same share of its rank: the paper's uniform allocation,
//   not the one it searches with Fisher information, which takes gradients.
// - The rotation is a random orthogonal matrix, not a Hadamard matrix: ranks need not be powers of two.
//
// Counted: coordinates; scales and zero points as halves. The bases are the model's, held once, and are not counted,
// like those of calibrated codecs.
#pragma once

#include <memory>
#include <vector>

#include "bench/codecs/palu_bases.h"
#include "bench/codecs/reference_codec.h"

namespace recalld::bench {

struct PaluSettings {
  std::string name;
  double left_out = 0.5;  // share of the coordinates
  int bits = 16;          // of a coordinate; below 16: coded
};

class PaluReference final : public ReferenceCodec {
 public:
  PaluReference(const PaluSettings& settings, const PaluLayer& layer);

  // Coordinates held of a group of `width` dims: at least one.
  int rank(size_t width) const;
  size_t counted_bytes(const quant::PageMeta& meta) const override;

 protected:
  // kInvalidArgument for another head_dim or number of heads than the basis is of.
  Status approximate(const quant::PageMeta& meta, std::span<float> keys, std::span<float> values) const override;

 private:
  struct Projection {
    size_t first = 0, width = 0;  // columns of a row
    std::vector<float> k, v;      // [rank][width], orthonormal rows
  };
  void project(size_t n_tokens, const Projection& group, const std::vector<float>& basis, float* rows) const;

  PaluSettings settings_;
  PaluLayer layer_;  // its groups are empty: projections_ is what they are needed for
  std::vector<Projection> projections_;
};

}  // namespace recalld::bench
