// A text as a vector: texts about the same thing have vectors that point the same way.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace recalld::runtime {

// Not thread-safe: one owner thread.
class TextEncoder {
 public:
  virtual ~TextEncoder() = default;

  // "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct (own states)": for reports.
  virtual const std::string& name() const = 0;
  virtual int32_t dim() const = 0;
  // Vectors made under one fingerprint mean nothing under another.
  virtual Digest128 fingerprint() const = 0;

  // The unit vector of a text, [dim]. What is longer than the encoder's window is cut off at its end. A text without
  // any token gives the zero vector.
  virtual Result<std::vector<float>> embed(std::string_view text) = 0;
};

}  // namespace recalld::runtime
