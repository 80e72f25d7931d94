// Trellis-coded quantization at a fixed rate: what codes of Grid::kTrellis mean (kernels/layout.h).
//
// A number of `bits` bits has twice as many levels as codes. Ranks, mod 4, put the levels into four subsets; which two
// of them a number may take is decided by the codes of the four dims before it, so that a code says which of the two
// (the path bit, its highest) and which level within (its lower bits). The subsets of one pair are interleaved, so a
// number has a grid of 2^bits levels to choose from, but the choice moves the grids of the dims after: a search over
// all paths finds rows closer to x than any rounding number by number does. At 2, 3, 4 bits the squared error is .73,
// .68, .67 of the Lloyd-Max quantizer's. (Ungerboeck, IEEE Trans. Inf. Theory 1982; Marcellin and Fischer, IEEE Trans.
// Commun. 1990: trellis codes with doubled alphabets.)
//
// The code is the feedforward form of Ungerboeck's of 16 states (parity checks 23, 04 octal): with u_j the path bit of
// dim j, 0 before the first dim, the subset of dim j is 2 (u_j ^ u_(j-1) ^ u_(j-4)) + u_(j-2). The path runs over the
// stored dims of a side in order, through all bands. That bits, not tables, say the subset lets decoders work on masks
// of many dims and tokens at once.
//
// The search. With z the row in units of variance 1 (kernels/encode.h) and, in f32,
//   d[s] = (z - unit * level)^2 for the level of subset s that is next to z (boundaries: Codebook),
// the cost of a state (the last four path bits, the latest the lowest) after a dim is the least, over the two states
// that lead to it, of their cost plus d of the branch's subset; of two equal ones that of the lower state. State 0
// begins at cost 0, the others at 1e30. The path that ends in the state of least cost (the lowest of equal ones) is
// taken.
#pragma once

#include <cstdint>

#include "kernels/layout.h"

namespace recalld::kernels {

inline constexpr int kTrellisMemory = 4;  // dims
inline constexpr int kTrellisStates = 1 << kTrellisMemory;
inline constexpr int kTrellisSubsets = 4;
inline constexpr float kTrellisFar = 1e30F;

// state: the path bits of the dims before, that of the last one the lowest.
constexpr int trellis_subset(int state, int path) {
  return 2 * (path ^ (state & 1) ^ (state >> 3 & 1)) + (state >> 1 & 1);
}
constexpr int next_trellis_state(int state, int path) { return (state << 1 | path) & (kTrellisStates - 1); }

// Parts of a code: its path bit and its place in the subset.
constexpr int trellis_path(int code, int bits) { return code >> (bits - 1); }
constexpr int trellis_place(int code, int bits) { return code & ((1 << (bits - 1)) - 1); }
constexpr int trellis_code(int place, int path, int bits) { return place | path << (bits - 1); }

// The rank of a code's level.
constexpr int trellis_rank(int code, int bits, int state) {
  return trellis_place(code, bits) * kTrellisSubsets + trellis_subset(state, trellis_path(code, bits));
}

// Squared error of rows of N(0,1), of 64 to 256 numbers, in units of their energy, scales by least squares.
constexpr double trellis_error(int bits) { return bits == 4 ? 0.0062 : bits == 3 ? 0.0229 : 0.0842; }

// The place in subset `subset` of the level next to z.
inline int nearest_trellis_place(const Codebook& book, int subset, float z) {
  int place = 0;
  for (int i = 0; i < (1 << (book.bits - 1)) - 1; ++i) place += z >= book.boundaries[7 * subset + i] ? 1 : 0;
  return place;
}

namespace reference {

// The path of a row: path[i] is the bit of dim i. z: [n] numbers of the stored dims of a side of `format`, n up to
// kMaxHeadDim. No allocation.
void search_trellis(const SideFormat& format, int n, const float* z, uint8_t* path);

}  // namespace reference

}  // namespace recalld::kernels
