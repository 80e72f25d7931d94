// A codec whose maps are full matrices of their own for each KV head of one layer: calibrated codecs and OSCAR.
//
// Keys may first be turned back by their page's first position (rope; quant/calibration.h says why).
// For such a row x: y = encode x is coded, by the tag's formats, less key_mean for keys; what the codes stand for, y^,
// comes back as x^ = back y^. Queries become back^T q, so that their products with y^ are those of q with x^. back need
// not be the inverse of encode: gains that undo the shrinking of quantizers are in it.
//
// The key mean is the codec's, not the page's: attention adds it through PageSlice::k_mean as if it stood in the page.
// A codec with kFlagCentred has none: its keys are coded less their page's mean, in the basis of encode, which must be
// orthogonal then.
// Immutable; any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "kernels/encode.h"
#include "kernels/rope.h"
#include "quant/calibration.h"
#include "quant/codec.h"

namespace recalld::quant {

// One side of one KV head. by_input: row j holds what input j adds to each output, [d][d].
struct MatrixMaps {
  std::vector<float> k_encode, v_encode;  // by_input
  std::vector<float> k_query;             // by_input: row-major `back` of keys
  std::vector<float> v_restore;           // by_input: `back` of values, transposed
  std::vector<uint16_t> k_mean;           // [d] halves, in the basis that back maps from; empty for none
  std::vector<float> k_offset;            // [d], the same mean in the basis of encode: subtracted from y
};

struct MatrixCodecOptions {
  std::string name;
  CodecTag tag;  // formats resolved for head_dim
  Digest128 digest;
  int32_t layer = 0, head_dim = 0;
  kernels::ScaleRule k_rule = kernels::ScaleRule::kLeastSquares, v_rule = kernels::ScaleRule::kLeastSquares;
  double k_clip = 1, v_clip = 1;
  std::optional<kernels::RopeSpec> rope;  // none: keys are coded as they come
};

// What every codec that is made of a calibration's layer has of it: layer, head_dim, and the tag's id, version and
// parameter (the calibration's digest).
MatrixCodecOptions options_of_layer(const Calibration& calibration, int layer, std::string name, uint16_t id,
                                    uint16_t version = 1);

// Begins such a codec's digest; what else its codes depend on is to be added.
void add_layer(std::string_view family, const Calibration& calibration, const MatrixCodecOptions& options,
               Digester* digester);

// Of a [d][d] matrix.
std::vector<float> transposed(int d, const std::vector<float>& matrix);

class MatrixCodec final : public Codec {
 public:
  // maps: one for each KV head of the layer, or one for all of them.
  MatrixCodec(MatrixCodecOptions options, std::vector<MatrixMaps> maps);

  const std::string& name() const override { return options_.name; }
  const CodecTag& tag() const override { return options_.tag; }
  Digest128 digest() const override { return options_.digest; }
  size_t page_bytes(int n_kv_heads, int head_dim, int n_tokens) const override;
  // kInvalidArgument for another layer, head_dim or number of heads than the maps are for.
  Status encode_page(const PageMeta& meta, const float* k, const float* v, std::span<std::byte> out) const override;
  Status decode_page(const PageView& page, float* k, float* v) const override;
  int32_t key_origin(const PageMeta& meta) const override { return options_.rope ? meta.rope_start : 0; }
  bool plain_basis() const override { return false; }
  void transform_queries(int layer, int head, int head_dim, int n_rows, const float* q, float* out) const override;
  void restore_outputs(int layer, int head, int head_dim, int n_rows, float* acc) const override;
  const uint16_t* key_mean(int head) const override;

 private:
  const MatrixMaps& maps(int head) const { return maps_[maps_.size() == 1 ? 0 : static_cast<size_t>(head)]; }
  Status check_meta(const PageMeta& meta) const;

  MatrixCodecOptions options_;
  std::vector<MatrixMaps> maps_;
};

}  // namespace recalld::quant
