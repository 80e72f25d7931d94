#include <cmath>

#include "kernels/cuda/encode.h"

namespace recalld::kernels::cuda {

std::vector<float> rope_turns(const RopeSpec& rope, std::span<const int32_t> shifts) {
  std::vector<float> turns;
  for (const int32_t shift : shifts) {
    for (const float frequency : rope.inv_freq) {
      const double angle = static_cast<double>(shift) * static_cast<double>(frequency);
      turns.push_back(static_cast<float>(std::cos(angle)));
      turns.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  return turns;
}

}  // namespace recalld::kernels::cuda
