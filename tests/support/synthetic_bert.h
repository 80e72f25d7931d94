// A tiny text encoder with random weights, written as a GGUF file.
#pragma once

#include <string>

#include "base/status.h"

namespace recalld::testing {

// Architecture `bert`: one layer, 2 heads, 8 numbers a vector, a window of 16, mean pooling, a WordPiece vocabulary of
// the lower-case letters with and without "##", and F32 matrices. About 4 KB.
Status write_synthetic_bert(const std::string& path);

}  // namespace recalld::testing
