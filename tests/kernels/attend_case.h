// One attention problem for tests: pages in a view, queries in several variants, and a state to fill.
#pragma once

#include <string>
#include <vector>

#include "kernels/attend.h"
#include "tests/kernels/test_page.h"

namespace recalld::kernels {

struct CaseSpec {
  int head_dim = 64;
  SideFormat k = one_band(4);  // may have kAllDims
  SideFormat v = one_band(4);
  int n_group = 3;
  int window = 0;
  std::vector<int> page_tokens = {64};
  int n_queries = 1;
  int behind = 0;  // how many view positions the last query is before the last key
  int seed = 1;

  std::string name() const;
};

// acc, m and l of all rows.
struct StateBuffer {
  StateBuffer(int n_rows, int head_dim, int n_spaces);
  AttendState state();
  // acc / l over all spaces of one row, and m + log l.
  std::vector<float> output(int row) const;
  float log_sum(int row) const;

  int n_rows, head_dim, n_spaces;
  std::vector<float> m, l, acc;
};

class AttendCase {
 public:
  static constexpr int kVariants = 3;
  static constexpr int kSpaces = 2;

  explicit AttendCase(const CaseSpec& spec);

  int n_rows() const { return spec.n_queries * spec.n_group; }
  StateBuffer new_state() const { return {n_rows(), spec.head_dim, kSpaces}; }
  QueryBlock queries() const { return {spec.n_queries, positions.data(), q.data()}; }

  CaseSpec spec;
  AttendShape shape;
  std::vector<TestPage> owners;
  std::vector<PageSlice> pages;
  std::vector<int32_t> positions;
  std::vector<float> q;
};

// |a - b| / |b| in the Euclidean norm, 0 when equal.
double relative_distance(const std::vector<float>& a, const std::vector<float>& b);

// Largest relative distance of the outputs, and largest difference of the log sums, over all rows. Rows that see
// nothing must do so in both; that and NaN count as infinity.
struct Distance {
  double output = 0;
  double log_sum = 0;
};
Distance distance(const StateBuffer& a, const StateBuffer& b);

}  // namespace recalld::kernels
