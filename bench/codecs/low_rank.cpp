#include "bench/codecs/low_rank.h"

#include <cmath>
#include <random>

namespace recalld::bench {
namespace {

constexpr int kRounds = 3;
constexpr uint64_t kSeed = 0x6765'6172u;
// A vector that loses more than this share of itself was inside the space of those before it.
constexpr double kNothingLeft = 1e-9;

double dot(int n, const double* x, const double* y) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

// Gram-Schmidt, twice: once is not enough for vectors that are nearly parallel.
void orthonormalize(int count, int length, std::vector<double>& vectors) {
  for (int i = 0; i < count; ++i) {
    double* vector = &vectors[static_cast<size_t>(i) * static_cast<size_t>(length)];
    const double before = std::sqrt(dot(length, vector, vector));
    for (int pass = 0; pass < 2; ++pass)
      for (int j = 0; j < i; ++j) {
        const double* other = &vectors[static_cast<size_t>(j) * static_cast<size_t>(length)];
        const double along = dot(length, vector, other);
        for (int k = 0; k < length; ++k) vector[k] -= along * other[k];
      }
    const double after = std::sqrt(dot(length, vector, vector));
    const double scale = after > kNothingLeft * before ? 1 / after : 0;
    for (int k = 0; k < length; ++k) vector[k] *= scale;
  }
}

}  // namespace

std::vector<double> random_orthonormal(int count, int length, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<double> vectors(static_cast<size_t>(count) * static_cast<size_t>(length));
  for (double& x : vectors) x = static_cast<double>(random() >> 11) * 0x1p-52 - 1;
  orthonormalize(count, length, vectors);
  return vectors;
}

Factors low_rank(int n, int d, const float* x, int rank) {
  const auto rows = static_cast<size_t>(n), columns = static_cast<size_t>(d), count = static_cast<size_t>(rank);
  std::vector<double> a(count * rows), b = random_orthonormal(rank, d, kSeed);
  for (int round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < count; ++i)
      for (size_t row = 0; row < rows; ++row) {
        double sum = 0;
        for (size_t j = 0; j < columns; ++j) sum += static_cast<double>(x[row * columns + j]) * b[i * columns + j];
        a[i * rows + row] = sum;
      }
    orthonormalize(rank, n, a);
    b.assign(b.size(), 0);
    for (size_t i = 0; i < count; ++i)
      for (size_t row = 0; row < rows; ++row)
        for (size_t j = 0; j < columns; ++j)
          b[i * columns + j] += a[i * rows + row] * static_cast<double>(x[row * columns + j]);
  }
  return {{a.begin(), a.end()}, {b.begin(), b.end()}};
}

}  // namespace recalld::bench
