// Vectors of length one.
#pragma once

#include <span>

#include "base/status.h"

namespace recalld::runtime {

// Scales to Euclidean length 1. A vector of zeros stays as it is. kInternal when an element is not a finite number.
Status make_unit(std::span<float> vector);

}  // namespace recalld::runtime
