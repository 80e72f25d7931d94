// Attention problems and rows for the tests and the bench of the CUDA kernels, on the host.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "kernels/attend.h"
#include "kernels/encode.h"

namespace recalld::kernels::cuda {

// One KV head of a page that owns its bytes: random codes, scales near 1, padding zero.
struct CasePage {
  CasePage(std::mt19937& random, int n_tokens, int head_dim, const SideFormat& k, const SideFormat& v, bool centred);

  AlignedBuffer k, v, k_scale, v_scale, k_offset, v_offset, k_mean;
  PageSlice slice;
};

// Formats of one width, of several bands, of the other grids, that head_dim (64 at least) allows. All are resolved.
std::vector<SideFormat> coded_formats(int head_dim);

std::string name_of(const SideFormat& format);

struct CaseSpec {
  int head_dim = 64;
  SideFormat k, v;
  int n_group = 4;
  int n_tokens = 1;  // query tokens
  int window = 0;
  int behind = 0;  // view positions between the last query and the last key
  std::vector<int> page_tokens = {64};
  unsigned seed = 1;

  std::string name() const;
};

// One KV head's problem.
struct AttendCase {
  static constexpr int kVariants = 3;
  static constexpr int kSpaces = 2;

  explicit AttendCase(const CaseSpec& spec);
  int n_rows() const { return spec.n_tokens * spec.n_group; }
  QueryBlock queries() const { return {spec.n_tokens, positions.data(), q.data()}; }

  CaseSpec spec;
  AttendShape shape;
  std::deque<CasePage> owners;
  std::vector<PageSlice> pages;
  std::vector<int32_t> positions;
  std::vector<float> q;
};

struct HostState {
  HostState(int n_rows, int head_dim, int n_spaces);
  AttendState state() { return {n_spaces, m.data(), l.data(), acc.data()}; }

  int n_rows, head_dim, n_spaces;
  std::vector<float> m, l, acc;
};

// Largest |a - b| / |b| of the rows' outputs, and largest difference of m + log l. NaN in one alone, or a row that sees
// nothing in one alone, is infinite.
struct Apart {
  double output = 0, log_sum = 0;
};
Apart apart(const HostState& a, const HostState& b);

// All kinds of decode problems of one head_dim: each format on each side, odd counts, groups, windows, several tokens.
std::vector<CaseSpec> decode_cases(int head_dim);

// n rows, `stride` apart: heavy tails and, in places, numbers that need care (NaN, infinities, huge, tiny, zero rows).
std::vector<float> awkward_rows(int n, int stride, unsigned seed);

}  // namespace recalld::kernels::cuda
