#include "runtime/unit_vector.h"

#include <cmath>

namespace recalld::runtime {

Status make_unit(std::span<float> vector) {
  double squares = 0;
  for (const float x : vector) squares += double{x} * double{x};
  if (!std::isfinite(squares)) return internal_error("a text's vector holds values that are not numbers");
  if (squares == 0) return ok_status();
  const double scale = 1.0 / std::sqrt(squares);
  for (float& x : vector) x = static_cast<float>(x * scale);
  return ok_status();
}

}  // namespace recalld::runtime
