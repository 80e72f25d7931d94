// What Palu's projections are made of: for each group of KV heads the directions of a model's keys and values, by
// energy, measured on texts.
//
// Palu (arXiv 2407.21118, section 3) splits the weights W of a group's projection into A B of rank r, by an SVD that is
// whitened with the inputs X, so that |X W - X A B| is least. With P the projection on the first r eigenvectors of
// (X W)^T (X W), A = W P and B = P^T reach that least error: the group's keys (or values) themselves are all that is
// needed, and the eigenvectors of their second moment are the bases here. Keys are taken before rotation: each turned
// back by its own position.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/rope.h"
#include "runtime/engine.h"

namespace recalld::bench {

inline constexpr int kPaluGroup = 4;  // KV heads, as in the paper; a last group may have fewer

struct PaluGroup {
  int first_head = 0, n_heads = 0;
  // Row i: the direction of the i-th largest energy, unit length, [width][width] with width = n_heads * head_dim.
  std::vector<float> k, v;
};

struct PaluLayer {
  int n_kv_heads = 0, head_dim = 0;
  std::shared_ptr<const kernels::RopeSpec> rope;  // nullptr: keys are not rotated
  std::vector<PaluGroup> groups;
};

struct PaluBases {
  std::vector<PaluLayer> layers;
};

// Each text in pieces of 2,048 tokens, of which the first 16 are not counted: they lie in 16 bits and are unlike all
// others. kInvalidArgument when nothing is left. on_piece: after each piece, tokens read so far. Memory: as
// episodes::capture of a piece. Errors as Engine::step.
Result<PaluBases> measure_palu_bases(runtime::Engine& engine, const std::vector<std::vector<int32_t>>& texts,
                                     const std::function<void(size_t)>& on_piece);

// keys: [n_tokens][n_kv_heads][head_dim], rotated at positions `start` and on; turned to before rotation by direction
// -1, back by 1.
void turn_keys(const PaluLayer& layer, int n_tokens, int32_t start, int direction, float* keys);

}  // namespace recalld::bench
