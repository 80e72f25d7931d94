// Where the tiles of a page begin in each of the layouts of kernels/layout.h.
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/attend.h"
#include "kernels/visible.h"

namespace recalld::kernels {

// Codes of one side from some token on: blocks of low bits and, for 3 bits, the masks of high bits. For other widths
// `high` is not read, but steps with `low`, so it points at real bytes.
struct CodePointer {
  const uint8_t* low = nullptr;
  const uint8_t* high = nullptr;
};

// Codes from token `token` on, a multiple of kTokenGroup, on either side: both take the same bytes per token group.
inline CodePointer codes_at(const uint8_t* codes, int n_tokens, int head_dim, int bits, int token) {
  if (bits != 3) return {codes + side_bytes(token, head_dim, bits), codes};
  const uint8_t* high = codes + side_bytes(n_tokens, head_dim, 2);
  return {codes + side_bytes(token, head_dim, 2), high + side_bytes(token, head_dim, 1)};
}

// Halves from token `token` on, likewise.
inline const uint16_t* halves_at(const uint8_t* halves, int head_dim, int token) {
  return reinterpret_cast<const uint16_t*>(halves) + static_cast<size_t>(token) * static_cast<size_t>(head_dim);
}

}  // namespace recalld::kernels
