// calibrated-2, -2.5, -3, -4: trellis codes (kernels/trellis.h) in a basis measured on the model, with more bits where
// an error costs more.
//
// Of a layer's calibration (quant/calibration.h) and the preset's bits: the coordinates, ordered by variance, are cut
// into bands of one width; within a band of variances l the coordinates are scaled by l^(-1/4) and mixed by a
// randomised Hadamard transform, all so that each coded coordinate has variance 1 over the calibration text. That is
// the map of WUSH-KV (H Lambda^(-1/4) U^T Sq^(1/2)) band by band: among the invertible maps before a quantizer with
// error proportional to variance it gives the smallest error of scores, (sum l^(1/2))^2 / n for a band of n.
//
// One scale of 8 bits per token, least squares; `back` makes the coordinates of a band with the quantizer's distortion
// D longer by (1 - D)^(-1/2), which undoes half of what centroids lack (matched scales, band by band). Keys are turned
// back by their page's first position (quant/calibration.h), then coded less their mean over the calibration text:
// nothing of it stands in a page. Dims of 0 bits, of keys alone, come back as that mean.
#pragma once

#include "quant/calibration.h"
#include "quant/matrix_codec.h"

namespace recalld::quant {

inline constexpr uint16_t kCalibratedId = 5;
inline constexpr uint16_t kCalibratedVersion = 4;

// preset: the name of one of kPresets. kInvalidArgument for another, or when a map has no inverse.
Result<std::shared_ptr<const Codec>> make_calibrated(const Calibration& calibration, int layer,
                                                     std::string_view preset);

// The same with bits that are not those of a preset: for measuring what bits are worth, and for pages of a calibration
// by their tags.
Result<std::shared_ptr<const Codec>> make_calibrated(const Calibration& calibration, int layer, const LayerBits& bits,
                                                     const std::string& name);

}  // namespace recalld::quant
