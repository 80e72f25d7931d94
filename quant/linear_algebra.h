// Dense matrices of up to a few hundred rows in double precision: what calibrations are made with. Row-major,
// [n][n]. Deterministic. Threads: pure functions.
#pragma once

#include <vector>

#include "base/status.h"

namespace recalld::quant {

using Matrix = std::vector<double>;

struct Eigen {
  std::vector<double> values;  // descending, ties in the order of their vectors' first rows
  Matrix vectors;              // row i belongs to values[i], unit length
};

// Of a symmetric positive definite matrix, by one-sided Jacobi rotations of its rows (Hestenes 1958): they end as
// lambda_i v_i. Relative accuracy 1e-12 while the condition number stays below 1e6: damp the matrix first.
Eigen symmetric_eigen(int n, const Matrix& a);

// V^T diag(scale) V: the same vectors with other values, as a matrix.
Matrix spectral(int n, const Eigen& eigen, const std::vector<double>& scale);

Matrix multiply(int n, const Matrix& a, const Matrix& b);
Matrix transpose(int n, const Matrix& a);
double trace(int n, const Matrix& a);

// a + share * trace(a) / n on the diagonal.
Matrix damped(int n, Matrix a, double share);

// By elimination with row pivots. kInvalidArgument for a singular matrix.
Result<Matrix> inverse(int n, Matrix a);

}  // namespace recalld::quant
