#include "runtime/output_matrix.h"

#include <ggml.h>

#include <cstring>

#include "runtime/weights.h"

namespace recalld::runtime {

std::vector<float> output_matrix(const Model& model, int layer) {
  const ggml_tensor* weights = model.weights().layers[static_cast<size_t>(layer)].o;
  const auto width = static_cast<size_t>(weights->ne[0]), height = static_cast<size_t>(weights->ne[1]);
  std::vector<float> out(width * height);
  const ggml_type_traits* traits = ggml_get_type_traits(weights->type);
  for (size_t row = 0; row < height; ++row) {
    const auto* from = static_cast<const char*>(weights->data) + row * weights->nb[1];
    float* to = out.data() + row * width;
    if (weights->type == GGML_TYPE_F32)
      std::memcpy(to, from, width * sizeof(float));
    else
      traits->to_float(from, to, static_cast<int64_t>(width));
  }
  return out;
}

}  // namespace recalld::runtime
