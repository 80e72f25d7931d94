#include "kernels/decode.h"

#include "kernels/reference/page_reader.h"

namespace recalld::kernels {

void decode_keys(const PageSlice& page, int head_dim, float* rows, size_t stride) {
  const reference::PageReader reader(page, head_dim);
  for (int token = 0; token < page.n_tokens; ++token)
    for (int dim = 0; dim < head_dim; ++dim)
      rows[static_cast<size_t>(token) * stride + static_cast<size_t>(dim)] = reader.k(token, dim);
}

void decode_values(const PageSlice& page, int head_dim, float* rows, size_t stride) {
  const reference::PageReader reader(page, head_dim);
  for (int token = 0; token < page.n_tokens; ++token)
    for (int dim = 0; dim < head_dim; ++dim)
      rows[static_cast<size_t>(token) * stride + static_cast<size_t>(dim)] = reader.v(token, dim);
}

}  // namespace recalld::kernels
