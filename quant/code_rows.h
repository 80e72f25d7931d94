// A token group's codes of one band, as rows of one byte for each dim, from and to their places in a page
// (kernels/layout.h).
#pragma once

#include <cstdint>

#include "kernels/layout.h"

namespace recalld::quant {

// rows[t][j]: token 16 * group + t, dim j of the band. What lies beyond n_tokens is 0.
using CodeRows = uint8_t[kernels::kTokenGroup][kernels::kMaxHeadDim];

// band.bits is 4, 3 or 2; codes: those of this band; padded: tokens of the page, padded.
void get_key_rows(const uint8_t* codes, int padded, kernels::Band band, int group, CodeRows& rows);
void get_value_rows(const uint8_t* codes, int padded, kernels::Band band, int group, CodeRows& rows);

// Writes all bytes of the group. Codes must be below 2^bits.
void put_key_rows(const CodeRows& rows, int padded, kernels::Band band, int group, uint8_t* codes);
void put_value_rows(const CodeRows& rows, int padded, kernels::Band band, int group, uint8_t* codes);

}  // namespace recalld::quant
