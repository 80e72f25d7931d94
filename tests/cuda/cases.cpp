#include "tests/cuda/cases.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace recalld::kernels::cuda {
namespace {

uint16_t* halves(AlignedBuffer& buffer) { return reinterpret_cast<uint16_t*>(buffer.data()); }

SideFormat bands(std::initializer_list<Band> list, int head_dim, bool scale_per_band) {
  SideFormat format;
  format.scale_per_band = scale_per_band;
  int left = head_dim;
  for (Band band : list) {
    if (band.n_dims == kAllDims) band.n_dims = static_cast<int16_t>(left);
    left -= band.n_dims;
    format.bands[format.n_bands++] = band;
  }
  return format;
}

void draw_codes(std::mt19937& random, bool key, const SideFormat& format, int n_tokens, int head_dim,
                AlignedBuffer& buffer) {
  std::normal_distribution<float> normal;
  auto* codes = reinterpret_cast<uint8_t*>(buffer.data());
  for (int token = 0; token < n_tokens; ++token) {
    for (int dim = 0; dim < head_dim && format.halves(); ++dim)
      halves(buffer)[key ? k_half_index(head_dim, token, dim) : v_half_index(head_dim, token, dim)] =
          float_to_half(normal(random));
    int dim = 0;
    for (int band = 0; band < format.stored_bands(); ++band) {
      std::uniform_int_distribution<int> code(0, (1 << format.bands[band].bits) - 1);
      for (const int end = dim + format.bands[band].n_dims; dim < end; ++dim)
        (key ? set_k_code : set_v_code)(codes, padded_tokens(n_tokens), format, token, dim, code(random));
    }
  }
}

void set_scale(const SideFormat& format, AlignedBuffer& scales, int index, float scale) {
  kernels::set_scale(format, reinterpret_cast<uint8_t*>(scales.data()), static_cast<size_t>(index),
                     float_to_half(scale));
}

}  // namespace

CasePage::CasePage(std::mt19937& random, int n_tokens, int head_dim, const SideFormat& k_side, const SideFormat& v_side,
                   bool centred)
    : k(side_bytes(n_tokens, head_dim, k_side)),
      v(side_bytes(n_tokens, head_dim, v_side)),
      k_scale(static_cast<size_t>(padded_tokens(n_tokens)) * 2 * kMaxBands),
      v_scale(k_scale.size()),
      k_offset(static_cast<size_t>(padded_tokens(n_tokens)) * 2),
      v_offset(k_offset.size()),
      k_mean(static_cast<size_t>(head_dim) * 2) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> scale(0.5F, 1.5F);
  const int padded = padded_tokens(n_tokens);
  slice.k_format = k_side;
  slice.v_format = v_side;
  slice.n_tokens = n_tokens;
  draw_codes(random, true, k_side, n_tokens, head_dim, k);
  draw_codes(random, false, v_side, n_tokens, head_dim, v);
  for (int token = 0; token < n_tokens; ++token) {
    for (int row = 0; row < kMaxBands; ++row) {
      set_scale(k_side, k_scale, row * padded + token, scale(random) * (k_side.grid == Grid::kUniform ? .3F : 1));
      set_scale(v_side, v_scale, row * padded + token, scale(random));
    }
    halves(k_offset)[token] = float_to_half(0.3F * normal(random));
    halves(v_offset)[token] = float_to_half(normal(random));
  }
  for (int dim = 0; dim < head_dim; ++dim) halves(k_mean)[dim] = float_to_half(normal(random));
  slice.k = reinterpret_cast<const uint8_t*>(k.data());
  slice.v = reinterpret_cast<const uint8_t*>(v.data());
  if (!k_side.halves()) slice.k_scale = reinterpret_cast<const uint8_t*>(k_scale.data());
  if (!v_side.halves()) slice.v_scale = reinterpret_cast<const uint8_t*>(v_scale.data());
  if (k_side.offsets) slice.k_offset = halves(k_offset);
  if (v_side.offsets) slice.v_offset = halves(v_offset);
  if (centred && !k_side.halves()) slice.k_mean = halves(k_mean);
}

std::vector<SideFormat> coded_formats(int head_dim) {
  SideFormat symmetric = affine_band(3, head_dim);
  symmetric.offsets = false;
  SideFormat byte_scales = bands({{3, 16}, {2, kAllDims}}, head_dim, false);
  byte_scales.byte_scales = true;
  SideFormat scales_of_bands = bands({{4, 16}, {2, 32}, {0, kAllDims}}, head_dim, true);
  scales_of_bands.byte_scales = true;
  const auto on_trellis = [](SideFormat format, bool with_bytes) {
    format.grid = Grid::kTrellis;
    format.byte_scales = with_bytes;
    return format;
  };
  return {one_band(4, head_dim),
          one_band(3, head_dim),
          one_band(2, head_dim),
          bands({{4, 16}, {2, 32}, {0, kAllDims}}, head_dim, false),
          bands({{3, 16}, {2, kAllDims}}, head_dim, true),
          affine_band(2, head_dim),
          bands({{4, 16}, {3, 16}, {2, 16}, {4, kAllDims}}, head_dim, true),
          affine_band(4, head_dim),
          bands({{2, 48}, {0, kAllDims}}, head_dim, false),
          symmetric,
          byte_scales,
          scales_of_bands,
          on_trellis(one_band(4, head_dim), false),
          on_trellis(one_band(3, head_dim), true),
          on_trellis(one_band(2, head_dim), false),
          on_trellis(bands({{4, 16}, {3, 16}, {2, 16}, {0, kAllDims}}, head_dim, false), true),
          on_trellis(bands({{3, 32}, {2, kAllDims}}, head_dim, false), false),
          on_trellis(bands({{2, 16}, {4, 16}, {3, kAllDims}}, head_dim, false), true)};
}

std::string name_of(const SideFormat& format) {
  if (format.halves()) return "16";
  std::string text;
  for (int i = 0; i < format.n_bands; ++i)
    text += (i > 0 ? "+" : "") + std::to_string(format.bands[i].bits) + "x" + std::to_string(format.bands[i].n_dims);
  if (format.grid == Grid::kUniform) text += "u";
  if (format.grid == Grid::kTrellis) text += "t";
  if (format.offsets) text += "o";
  if (format.scale_per_band) text += "s";
  if (format.byte_scales) text += "b";
  return text;
}

std::string CaseSpec::name() const {
  std::string text = "d " + std::to_string(head_dim) + " K " + name_of(k) + " V " + name_of(v) + " G " +
                     std::to_string(n_group) + " tokens " + std::to_string(n_tokens) + " window " +
                     std::to_string(window) + " behind " + std::to_string(behind) + " pages";
  for (const int n : page_tokens) text += " " + std::to_string(n);
  return text;
}

AttendCase::AttendCase(const CaseSpec& a_spec) : spec(a_spec) {
  std::mt19937 random(spec.seed);
  shape = {spec.head_dim, spec.n_group, 1.0F / std::sqrt(static_cast<float>(spec.head_dim)), spec.window};
  int view = 0;
  for (size_t i = 0; i < spec.page_tokens.size(); ++i) {
    owners.emplace_back(random, spec.page_tokens[i], spec.head_dim, spec.k, spec.v, i % 2 == 0);
    pages.push_back(owners.back().slice);
    pages.back().view_start = view;
    pages.back().variant = static_cast<int>(i) % kVariants;
    pages.back().space = static_cast<int>(i / 2) % kSpaces;
    view += spec.page_tokens[i];
  }
  for (int i = 0; i < spec.n_tokens; ++i) positions.push_back(view - spec.behind - spec.n_tokens + i);
  std::normal_distribution<float> normal(0, 1.5F);
  q.resize(static_cast<size_t>(kVariants * n_rows() * spec.head_dim));
  for (float& x : q) x = normal(random);
}

HostState::HostState(int a_n_rows, int a_head_dim, int a_n_spaces)
    : n_rows(a_n_rows),
      head_dim(a_head_dim),
      n_spaces(a_n_spaces),
      m(static_cast<size_t>(n_rows), -std::numeric_limits<float>::infinity()),
      l(m.size()),
      acc(m.size() * static_cast<size_t>(head_dim * n_spaces)) {}

Apart apart(const HostState& a, const HostState& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  Apart worst;
  for (int row = 0; row < a.n_rows; ++row) {
    const auto at = static_cast<size_t>(row);
    if (std::isnan(a.l[at]) && std::isnan(b.l[at]) && std::isnan(a.m[at])) continue;
    if (a.l[at] == 0 || b.l[at] == 0) {
      if (a.l[at] != b.l[at] || a.m[at] != b.m[at]) return {kInfinity, kInfinity};
      continue;
    }
    double difference = 0, length = 0;
    for (int space = 0; space < a.n_spaces; ++space)
      for (int j = 0; j < a.head_dim; ++j) {
        const auto index = static_cast<size_t>((space * a.n_rows + row) * a.head_dim + j);
        const double x = static_cast<double>(a.acc[index]) / a.l[at], y = static_cast<double>(b.acc[index]) / b.l[at];
        difference += (x - y) * (x - y);
        length += y * y;
      }
    const double output = difference == 0 ? 0 : std::sqrt(difference / length);
    const double log_sum = std::fabs(a.m[at] + std::log(a.l[at]) - b.m[at] - std::log(b.l[at]));
    if (!(output < kInfinity) || !(log_sum < kInfinity)) return {kInfinity, kInfinity};
    worst.output = std::max(worst.output, output);
    worst.log_sum = std::max(worst.log_sum, log_sum);
  }
  return worst;
}

std::vector<CaseSpec> decode_cases(int head_dim) {
  constexpr int kTokens[] = {1, 5, 16, 17, 63, 64, 100, 128, 256};
  constexpr int kGroups[] = {1, 3, 4, 8};
  std::vector<SideFormat> formats = coded_formats(head_dim);
  formats.push_back(one_band(16));
  std::vector<CaseSpec> cases;
  const auto n = static_cast<int>(formats.size());
  for (int i = 0; i < n; ++i) {
    // Each format as K and as V: with itself, and with another.
    for (const int step : {0, 1 + (head_dim / 16 + i) % (n - 1)}) {
      const int turn = 2 * i + head_dim / 16 + step;
      CaseSpec spec;
      spec.head_dim = head_dim;
      spec.k = formats[static_cast<size_t>(i)];
      spec.v = formats[static_cast<size_t>((i + step) % n)];
      spec.n_group = kGroups[turn % 4];
      spec.n_tokens = 1 + turn % 3;
      spec.window = turn % 2 == 0 ? 0 : 90;
      spec.behind = turn % 4 == 0 ? 0 : turn * 7 % 40;
      spec.page_tokens = {kTokens[turn % 9], kTokens[(turn * 2 + 5) % 9], kTokens[(turn + 4) % 9]};
      spec.seed = static_cast<unsigned>(turn);
      cases.push_back(spec);
    }
  }
  return cases;
}

std::vector<float> awkward_rows(int n, int stride, unsigned seed) {
  std::mt19937 random(seed);
  std::student_t_distribution<float> draw(3);
  std::vector<float> rows(static_cast<size_t>(n * stride));
  for (float& x : rows) x = draw(random);
  const float odd[] = {0.0F,   -0.0F,  std::nanf(""), INFINITY, -INFINITY, 1e38F,
                       -1e38F, 1e-40F, 65504.0F,      65520.0F, 1e-6F};
  for (size_t i = 5; i < rows.size(); i += 1237) rows[i] = odd[i / 1237 % std::size(odd)];
  for (int row = 3; row < n; row += 29)
    std::fill_n(rows.begin() + static_cast<std::ptrdiff_t>(row) * stride, stride, row % 2 == 0 ? 0.0F : 1.0F);
  return rows;
}

}  // namespace recalld::kernels::cuda
