// How many bits each layer's K and V get.
//
// Each side of each layer offers a few ways of spending bits, and what they cost: the error of the layer's attention
// output, relative to the output, when that side alone is coded, measured on a text that the maps were not made from.
// Errors that come from keys count more (docs/calibration-format.md has the measurement).
#pragma once

#include <vector>

#include "cache/shape.h"
#include "episodes/calibration/capture.h"
#include "quant/calibration.h"
#include "quant/linear_algebra.h"

namespace recalld::episodes {

struct BitOption {
  std::vector<uint8_t> bits;  // of blocks of 16 coordinates, descending
  double mean = 0;            // bits of a coordinate
  double error = 0;           // relative squared error of the layer's output, weighted
};

struct LayerOptions {
  std::vector<BitOption> k, v;  // by rising mean
};

// Whether coordinates may have 0 bits. Those of keys may: what they lack moves scores by less than codes of the bits
// that they would take. Those of values may not: what is missing in every value alike is not averaged away by
// attention, as the errors of codes are.
enum class Dropped { kNone, kAllowed };

// For each mean of at most 4 bits in steps of 1/4: the descending widths of 4, 3, 2 and, where allowed, 0 bits with the
// least sum of variance * distortion over the coordinates of all heads (reverse water-filling on what the kernels
// have).
std::vector<BitOption> bit_options(const std::vector<const quant::SideMap*>& heads, Dropped dropped);

// Measured: codec_of(bits) rows through encode and decode. output_metric as LayerMoments.
Result<LayerOptions> measure_options(const quant::Calibration& calibration, int layer, const cache::LayerShape& shape,
                                     const LayerCapture& rows, int32_t n_tokens,
                                     const std::vector<quant::Matrix>& output_metric);

// One option for each side of each layer with a mean of at most `budget` bits, by greatest fall of the summed error per
// bit, step by step from the cheapest. Ties: the earlier layer, K before V.
std::vector<quant::LayerBits> choose_bits(const std::vector<LayerOptions>& layers, double budget);

}  // namespace recalld::episodes
