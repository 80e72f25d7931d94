#include "kernels/transform.h"

namespace recalld::kernels {

SignFlips sign_flips(uint64_t seed) {
  SignFlips flips;
  uint64_t state = seed, word = 0;
  for (int i = 0; i < kMaxHeadDim; ++i) {
    if (i % 64 == 0) {
      state += 0x9e3779b97f4a7c15u;
      word = state;
      word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
      word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
      word ^= word >> 31;
    }
    flips.sign[i] = (word >> (i % 64)) & 1 ? -1.0F : 1.0F;
  }
  return flips;
}

}  // namespace recalld::kernels
