// What calibrated codecs know of one model: measured once on a text, kept in one file (docs/calibration-format.md).
//
// For each layer and KV head, the side maps of K and V. A side map turns a plain row x into coordinates
//   y = forward (x - mean)
// in which the importance of an error is the same in every direction, and which are uncorrelated, the largest first:
//   K: x is a key turned back by its page's first position, as if the page stood at position 0. forward = W^T Sq^(1/2),
//      with C the covariance of such keys, Sq = E[q q^T] over the queries of the head's group at several distances from
//      the page and W diag(variances) W^T the eigenvalues of Sq^(1/2) C Sq^(1/2). |forward e|^2 is then the mean
//      squared error of a score. (WUSH-KV, arXiv 2609.38121; NOVA-KV, arXiv 2608.04074.)
//      Turned back, keys of all positions have the mean and the covariance that they have before rotation, but for what
//      rotates fast within a page; as they come, every position has others, and a text beyond the calibration's length
//      has those that it never saw.
//   V: the same with E[Wo^T Wo] of the heads' output matrices for Sq, the second moment of values weighted with the
//   root
//      of the attention they get for C, and no mean: |forward e|^2 is the squared error of the layer's output.
// How many bits each coordinate gets is stored for each layer and preset. What a coded basis is made of them, and so
// everything that depends on the bits, is quant/calibrated.h's.
//
// For each layer, OSCAR's two rotations (quant/oscar.h).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "kernels/layout.h"
#include "kernels/rope.h"

namespace recalld::quant {

inline constexpr int kBitsBlock = 16;  // dims that share a width

// calibrated-NAME: how many bits a coordinate gets, mean over all layers, K and V. Scales and headers come on top: 0.16
// bits for pages of 64 tokens at a head_dim of 64.
struct Preset {
  const char* name;
  double bits;
};
inline constexpr std::array<Preset, 4> kPresets = {{{"2", 2.25}, {"2.5", 2.5}, {"3", 3.25}, {"4", 4.0}}};

struct SideMap {
  std::vector<float> variances;  // [d] of the coordinates, descending
  std::vector<float> forward;    // [d][d]
};

struct HeadCalibration {
  std::vector<float> key_mean;  // [d] in the plain basis, of keys that are turned back
  // Mean squares of the channels, plain: of values, and of keys as they come less the mean of their page.
  std::vector<float> k_energy, v_energy;  // [d]
  SideMap k, v;
};

// Bits of each block of 16 coordinates of a layer, all heads; descending.
struct LayerBits {
  std::vector<uint8_t> k, v;  // [d / 16]
  friend bool operator==(const LayerBits&, const LayerBits&) = default;
};

struct LayerCalibration {
  int32_t head_dim = 0;
  kernels::RopeSpec rope;
  std::vector<HeadCalibration> heads;
  std::array<LayerBits, kPresets.size()> bits;
  std::vector<float> oscar_k, oscar_v;  // [d][d]: x M is coded
};

struct Calibration {
  Digest128 model;  // runtime::Model::fingerprint()
  std::string model_name;
  std::string text;  // which text it was made from, for people
  std::vector<LayerCalibration> layers;
  Digest128 digest;  // of the file's bytes: names the calibration in pages

  // kInvalidArgument for a layer that it does not have; lives as long as the calibration.
  Result<const LayerCalibration*> layer(int index) const;
};

// Rounds the maps to what a file keeps (halves of unit-length rows and a length for each) and gives the file's bytes.
// Calibrations that are used must have come out of parse_calibration(), so that pages do not depend on whether theirs
// was stored in between. kInvalidArgument names what is missing or out of range.
Result<std::vector<std::byte>> write_calibration(const Calibration& calibration);

// kCorrupt names the first wrong field: cut, altered, of another version, dims out of range, numbers not finite.
Result<std::shared_ptr<const Calibration>> parse_calibration(std::span<const std::byte> bytes);

// Where a folder of calibrations keeps that of a model, by its fingerprint.
std::string calibration_file(const std::string& folder, const Digest128& model);

Status save_calibration(const Calibration& calibration, const std::string& path);
// kNotFound for a file that cannot be read.
Result<std::shared_ptr<const Calibration>> load_calibration(const std::string& path);

// What a model must have for a calibration to fit it.
struct LayerDims {
  int32_t n_kv_heads = 0, head_dim = 0;
};
// kFailedPrecondition, naming both models, when it was made for another one.
Status check_calibration(const Calibration& calibration, const Digest128& model, std::span<const LayerDims> layers);

// Neighbouring blocks of equal width joined. At most kMaxBands, as bits descend.
kernels::SideFormat bits_format(std::span<const uint8_t> bits);

}  // namespace recalld::quant
