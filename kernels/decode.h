// The numbers that a page's codes stand for, in the coded basis: what attention runs on, means and offsets included.
// One at a time, for tests, the archive and re-coding; attention never decodes to memory.
//
// rows: [n_tokens][head_dim], `stride` floats apart. Slices are as in kernels/attend.h, formats resolved. Dims that are
// not stored are 0, or the key mean. Threads: pure functions. No allocation.
#pragma once

#include <cstddef>

#include "kernels/attend.h"

namespace recalld::kernels {

void decode_keys(const PageSlice& page, int head_dim, float* rows, size_t stride);
void decode_values(const PageSlice& page, int head_dim, float* rows, size_t stride);

}  // namespace recalld::kernels
