// The matrix that maps the heads' outputs of a layer into the model's states.
#pragma once

#include <vector>

#include "base/status.h"
#include "runtime/model.h"

namespace recalld::runtime {

// [n_embd][n_heads * head_dim] as floats, whatever the file stores.
std::vector<float> output_matrix(const Model& model, int layer);

}  // namespace recalld::runtime
