// Matrices of low rank near a given one, by power iteration. Deterministic, pure functions.
#pragma once

#include <cstdint>
#include <vector>

namespace recalld::bench {

// `count` random vectors of `length`, orthonormal as far as count <= length; those beyond are 0. [count][length]
std::vector<double> random_orthonormal(int count, int length, uint64_t seed);

// x ~ sum_i a_i b_i^T. a: [rank][n], b: [rank][d].
struct Factors {
  std::vector<float> a, b;
};

// x: [n][d]. By subspace iteration from random vectors, as GEAR (arXiv 2403.05527, algorithm 2) and PowerSGD do: a is
// orthonormal, b = x^T a. Vectors are made orthonormal in each round, which the paper does in the last alone: the same
// space, but for rounding. Vectors beyond the rank of x are 0.
Factors low_rank(int n, int d, const float* x, int rank);

}  // namespace recalld::bench
