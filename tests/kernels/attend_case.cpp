#include "tests/kernels/attend_case.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace recalld::kernels {

std::string CaseSpec::name() const {
  std::string text = "d " + std::to_string(head_dim) + " k" + format_name(k) + " v" + format_name(v) + " G " +
                     std::to_string(n_group) + " window " + std::to_string(window) + " queries " +
                     std::to_string(n_queries) + " behind " + std::to_string(behind) + " pages";
  for (const int n : page_tokens) text += " " + std::to_string(n);
  return text;
}

StateBuffer::StateBuffer(int a_n_rows, int a_head_dim, int a_n_spaces)
    : n_rows(a_n_rows),
      head_dim(a_head_dim),
      n_spaces(a_n_spaces),
      m(a_n_rows),
      l(a_n_rows),
      acc(static_cast<size_t>(a_n_rows) * a_head_dim * a_n_spaces) {
  reset_state(state(), n_rows, head_dim);
}

AttendState StateBuffer::state() { return {n_spaces, m.data(), l.data(), acc.data()}; }

std::vector<float> StateBuffer::output(int row) const {
  std::vector<float> out;
  for (int space = 0; space < n_spaces; ++space)
    for (int j = 0; j < head_dim; ++j)
      out.push_back(acc[(static_cast<size_t>(space) * n_rows + row) * head_dim + j] / l[row]);
  return out;
}

float StateBuffer::log_sum(int row) const { return m[row] + std::log(l[row]); }

AttendCase::AttendCase(const CaseSpec& a_spec) : spec(a_spec) {
  std::mt19937 random(static_cast<unsigned>(spec.seed));
  shape.head_dim = spec.head_dim;
  shape.n_group = spec.n_group;
  shape.scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
  shape.window = spec.window;
  int view = 0;
  for (size_t i = 0; i < spec.page_tokens.size(); ++i) {
    owners.emplace_back(random, spec.page_tokens[i], spec.head_dim, spec.k, spec.v, i % 2 == 0);
    pages.push_back(owners.back().slice);
    pages.back().view_start = view;
    pages.back().variant = static_cast<int>(i) % kVariants;
    pages.back().space = static_cast<int>(i / 2) % kSpaces;
    view += spec.page_tokens[i];
  }
  // Consecutive positions; a case shorter than its queries starts with queries that see nothing.
  for (int i = 0; i < spec.n_queries; ++i) positions.push_back(view - 1 - spec.behind - (spec.n_queries - 1 - i));
  q = normal_values(random, static_cast<size_t>(kVariants) * n_rows() * spec.head_dim, 1.5F);
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, length = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    length += static_cast<double>(b[i]) * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / length);
}

Distance distance(const StateBuffer& a, const StateBuffer& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Distance worst;
  for (int row = 0; row < a.n_rows; ++row) {
    if (a.l[row] == 0 || b.l[row] == 0) {
      if (a.l[row] != b.l[row] || a.m[row] != b.m[row]) return {kInfinity, kInfinity};
      continue;
    }
    const double output = relative_distance(a.output(row), b.output(row));
    const double log_sum = std::fabs(a.log_sum(row) - b.log_sum(row));
    if (!(output < kInfinity) || !(log_sum < kInfinity)) return {kInfinity, kInfinity};
    worst.output = std::max(worst.output, output);
    worst.log_sum = std::max(worst.log_sum, log_sum);
  }
  return worst;
}

}  // namespace recalld::kernels
