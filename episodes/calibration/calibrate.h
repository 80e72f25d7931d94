// Makes a calibration (quant/calibration.h) of a model from texts: they are read in pieces, moments of Q, K and V are
// summed up, maps follow from them, and the bits of each preset are chosen by errors measured on one piece with maps
// made from those before it: the first piece of the last text, or, of a single text, its last piece. At the end the
// maps are made again from all pieces.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "quant/calibration.h"
#include "runtime/engine.h"

namespace recalld::episodes {

struct CalibrationOptions {
  // Tokens read at once. Memory: 4 bytes for each number of Q, K and V of a piece, in all layers (240 MB for 2,048
  // tokens of SmolLM2-135M).
  int32_t piece_tokens = 2048;
  int32_t max_tokens = 12288;  // of all texts together, equal parts of each
  double damping = 0.01;
};

// done: 0 to 1.
using CalibrationProgress = std::function<void(double done, const std::string& doing)>;

// A text is one document, from its first token. names: for people, kept in the file.
// kInvalidArgument when no text has 256 tokens in its part of max_tokens.
Result<std::shared_ptr<const quant::Calibration>> calibrate(runtime::Engine& engine,
                                                            const std::vector<std::vector<int32_t>>& texts,
                                                            const std::string& names, const CalibrationOptions& options,
                                                            const CalibrationProgress& progress);

// A file's calibration, if it is of this model. Errors as quant::load_calibration and quant::check_calibration.
Result<std::shared_ptr<const quant::Calibration>> load_calibration(const std::string& path,
                                                                   const runtime::Model& model);

}  // namespace recalld::episodes
