#include "runtime/hparams.h"

#include <cmath>

namespace recalld::runtime {

kernels::RopeSpec rope_spec(const RopeHparams& rope) {
  kernels::RopeSpec spec;
  spec.n_dims = rope.n_dims;
  spec.neox = rope.neox;
  for (int32_t i = 0; i < rope.n_dims / 2; ++i) {
    const double angle = rope.linear_scale * std::pow(static_cast<double>(rope.base), -2.0 * i / rope.n_dims);
    const double factor = rope.factors.empty() ? 1.0 : rope.factors[static_cast<size_t>(i)];
    spec.inv_freq.push_back(static_cast<float>(angle / factor));
  }
  return spec;
}

}  // namespace recalld::runtime
