// The same model with every matrix in F32.
//
// ggml multiplies quantized matrices with activations rounded to 8 bits. That rounding turns the smallest difference
// between two engines (the order of a sum is enough) into a difference of 1e-3 nats and more a few layers on: libllama
// differs that much from itself when only its batch size changes. With F32 weights of the same values nothing is
// rounded, and what is left between two engines is what they really do differently.
#pragma once

#include <string>

#include "base/status.h"

namespace recalld::testing {

// Writes the expanded copy of the GGUF `from` to `to`.
Status expand_gguf(const std::string& from, const std::string& to);

}  // namespace recalld::testing
