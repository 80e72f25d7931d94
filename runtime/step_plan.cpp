#include "runtime/step_plan.h"

#include <algorithm>

namespace recalld::runtime {
namespace {

bool wants_logits(const StepRequest& request, int32_t token) {
  if (request.outputs == Outputs::kAll) return true;
  return request.outputs == Outputs::kLast && static_cast<size_t>(token) + 1 == request.tokens.size();
}

void add_part(std::span<const StepRequest> requests, const StepPiece::Part& part, StepPiece* piece) {
  const StepRequest& request = requests[static_cast<size_t>(part.request)];
  for (int32_t i = 0; i < part.n_tokens; ++i) {
    if (!wants_logits(request, part.first + i)) continue;
    piece->output_rows.push_back(part.row + i);
    piece->output_requests.push_back(part.request);
  }
  piece->parts.push_back(part);
  piece->n_tokens += part.n_tokens;
}

}  // namespace

std::vector<StepPiece> plan_step(std::span<const StepRequest> requests, int ubatch) {
  std::vector<StepPiece> pieces;
  for (size_t r = 0; r < requests.size(); ++r) {
    const auto n_tokens = static_cast<int32_t>(requests[r].tokens.size());
    for (int32_t first = 0; first < n_tokens;) {
      if (pieces.empty() || pieces.back().n_tokens == ubatch) pieces.emplace_back();
      StepPiece& piece = pieces.back();
      const int32_t n = std::min(n_tokens - first, ubatch - piece.n_tokens);
      add_part(requests, {.request = static_cast<int>(r), .first = first, .n_tokens = n, .row = piece.n_tokens},
               &piece);
      first += n;
    }
  }
  return pieces;
}

}  // namespace recalld::runtime
