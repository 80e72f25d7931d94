// Cuts the tokens of a step into pieces that go through the graph at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/engine.h"

namespace recalld::runtime {

struct StepPiece {
  // Tokens [first, first + n) of one request, at row `row` of the piece.
  struct Part {
    int request = 0;
    int32_t first = 0;
    int32_t n_tokens = 0;
    int32_t row = 0;
  };
  std::vector<Part> parts;
  int32_t n_tokens = 0;
  std::vector<int32_t> output_rows;  // rows of the piece whose logits are wanted, ascending
  std::vector<int> output_requests;  // whose they are, parallel to output_rows
};

// Requests in order, pieces of at most ubatch tokens; every request has tokens.
std::vector<StepPiece> plan_step(std::span<const StepRequest> requests, int ubatch);

}  // namespace recalld::runtime
