// turboquant-2.5 and -3.5: TurboQuant with outlier channels (arXiv 2504.19874, section 4.3). The quarter of a head's
// channels with the most energy over the calibration text has one bit more than the others, 3 and 2 bits or 4 and 3;
// each part is a TurboQuant of its own, with its randomised Hadamard transform and its scale. The paper takes the
// channels from the prompt; the labels count the two scales at a head_dim of 128.
//
// As turboquant: keys are coded less their page's mean, with matched scales; values with unbiased ones.
#pragma once

#include <string_view>

#include "quant/calibration.h"
#include "quant/matrix_codec.h"

namespace recalld::quant {

inline constexpr uint16_t kSplitTurboQuantId = 6;

// Dims of the part with more bits: a quarter, in whole blocks of 16.
int outlier_channels(int head_dim);

// width: "2.5" or "3.5"; kInvalidArgument for another.
Result<std::shared_ptr<const Codec>> make_split_turboquant(const Calibration& calibration, int layer,
                                                           std::string_view width);

}  // namespace recalld::quant
