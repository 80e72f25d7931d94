// A look at a sequence's queries while a step is computed.
#pragma once

#include <cstdint>

namespace recalld::cache {

// Called from the threads of the compute graph: for each layer that attends, after the step's keys are stored, once by
// each thread ith of nth. What one call writes, no other of the same layer may touch. Must not throw or change the
// sequence; Sequence::weigh_keys and read access are allowed.
//
// The last layer of a step without outputs attends nothing and is not seen; a step longer than the engine's ubatch is
// computed in pieces, each seen by itself.
class AttentionObserver {
 public:
  virtual ~AttentionObserver() = default;
  // q: [n_tokens][n_heads][head_dim], rotated at view positions first_position, first_position + 1, ...
  virtual void on_queries(int layer, const float* q, int32_t n_tokens, int32_t first_position, int ith, int nth) = 0;
};

}  // namespace recalld::cache
