#include "quant/linear_algebra.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace recalld::quant {
namespace {

constexpr int kMaxSweeps = 40;
constexpr double kOrthogonal = 1e-13;

size_t at(int n, int row, int column = 0) {
  return static_cast<size_t>(row) * static_cast<size_t>(n) + static_cast<size_t>(column);
}

// Four running sums, so that the additions of a long row do not wait for one another.
double dot(int n, const double* a, const double* b) {
  double sums[4] = {};
  for (int i = 0; i < n; ++i) sums[i % 4] += a[i] * b[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Makes two rows orthogonal; false when they are so already.
bool rotate(int n, double* p, double* q) {
  const double pp = dot(n, p, p), qq = dot(n, q, q), pq = dot(n, p, q);
  if (std::abs(pq) <= kOrthogonal * std::sqrt(pp * qq)) return false;
  const double zeta = (qq - pp) / (2 * pq);
  const double t = (zeta >= 0 ? 1 : -1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
  const double c = 1 / std::sqrt(1 + t * t), s = c * t;
  for (int i = 0; i < n; ++i) {
    const double old = p[i];
    p[i] = c * old - s * q[i];
    q[i] = s * old + c * q[i];
  }
  return true;
}

}  // namespace

Eigen symmetric_eigen(int n, const Matrix& a) {
  Matrix rows = a;
  for (int sweep = 0; sweep < kMaxSweeps; ++sweep) {
    bool rotated = false;
    for (int p = 0; p + 1 < n; ++p)
      for (int q = p + 1; q < n; ++q) rotated |= rotate(n, &rows[at(n, p)], &rows[at(n, q)]);
    if (!rotated) break;
  }
  std::vector<double> lengths(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) lengths[static_cast<size_t>(i)] = std::sqrt(dot(n, &rows[at(n, i)], &rows[at(n, i)]));
  std::vector<int> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(
      order, [&](int i, int j) { return lengths[static_cast<size_t>(i)] > lengths[static_cast<size_t>(j)]; });
  Eigen eigen;
  eigen.vectors.resize(rows.size());
  for (int i = 0; i < n; ++i) {
    const int from = order[static_cast<size_t>(i)];
    const double length = lengths[static_cast<size_t>(from)];
    eigen.values.push_back(length);
    for (int j = 0; j < n; ++j)
      eigen.vectors[at(n, i, j)] = length > 0 ? rows[at(n, from, j)] / length : (j == from ? 1.0 : 0.0);
  }
  return eigen;
}

Matrix spectral(int n, const Eigen& eigen, const std::vector<double>& scale) {
  Matrix out(static_cast<size_t>(n) * static_cast<size_t>(n));
  for (int k = 0; k < n; ++k) {
    const double* vector = &eigen.vectors[at(n, k)];
    for (int i = 0; i < n; ++i) {
      const double factor = scale[static_cast<size_t>(k)] * vector[i];
      for (int j = 0; j < n; ++j) out[at(n, i, j)] += factor * vector[j];
    }
  }
  return out;
}

Matrix multiply(int n, const Matrix& a, const Matrix& b) {
  Matrix out(a.size());
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < n; ++k) {
      const double factor = a[at(n, i, k)];
      for (int j = 0; j < n; ++j) out[at(n, i, j)] += factor * b[at(n, k, j)];
    }
  }
  return out;
}

Matrix transpose(int n, const Matrix& a) {
  Matrix out(a.size());
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) out[at(n, j, i)] = a[at(n, i, j)];
  return out;
}

double trace(int n, const Matrix& a) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += a[at(n, i, i)];
  return sum;
}

Matrix damped(int n, Matrix a, double share) {
  const double add = share * trace(n, a) / n;
  for (int i = 0; i < n; ++i) a[at(n, i, i)] += add;
  return a;
}

Result<Matrix> inverse(int n, Matrix a) {
  Matrix out(a.size());
  for (int i = 0; i < n; ++i) out[at(n, i, i)] = 1;
  for (int column = 0; column < n; ++column) {
    int pivot = column;
    for (int row = column + 1; row < n; ++row)
      if (std::abs(a[at(n, row, column)]) > std::abs(a[at(n, pivot, column)])) pivot = row;
    const double head = a[at(n, pivot, column)];
    if (!(std::abs(head) > 0) || !std::isfinite(head))
      return invalid_argument("a matrix of the calibration has no inverse");
    if (pivot != column) {
      std::swap_ranges(&a[at(n, pivot)], &a[at(n, pivot)] + n, &a[at(n, column)]);
      std::swap_ranges(&out[at(n, pivot)], &out[at(n, pivot)] + n, &out[at(n, column)]);
    }
    for (int j = 0; j < n; ++j) {
      a[at(n, column, j)] /= head;
      out[at(n, column, j)] /= head;
    }
    for (int row = 0; row < n; ++row) {
      const double factor = a[at(n, row, column)];
      if (row == column || factor == 0) continue;
      for (int j = 0; j < n; ++j) {
        a[at(n, row, j)] -= factor * a[at(n, column, j)];
        out[at(n, row, j)] -= factor * out[at(n, column, j)];
      }
    }
  }
  return out;
}

}  // namespace recalld::quant
