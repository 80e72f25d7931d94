#include "tests/kernels/test_page.h"

#include <hwy/highway.h>
#include <algorithm>
#include <cmath>

namespace recalld::kernels {
namespace {

// On the trellis grid any code will do: all are levels of N(0,1).
int nearest_code(Grid grid, const Codebook& book, float x) {
  if (grid == Grid::kTrellis) return static_cast<int>(std::abs(x) * 1e4F) % (1 << book.bits);
  const float* end = book.boundaries + (1 << book.bits) - 1;
  return static_cast<int>(std::lower_bound(book.boundaries, end, x) - book.boundaries);
}

uint16_t* halves(AlignedBuffer& buffer) { return reinterpret_cast<uint16_t*>(buffer.data()); }

}  // namespace

TestPage::TestPage(std::mt19937& random, int n_tokens, int head_dim, const SideFormat& k, const SideFormat& v,
                   bool centred)
    : k_(side_bytes(n_tokens, head_dim, resolve(k, head_dim))),
      v_(side_bytes(n_tokens, head_dim, resolve(v, head_dim))),
      k_scale_(static_cast<size_t>(padded_tokens(n_tokens) * kMaxBands) * 2),
      v_scale_(static_cast<size_t>(padded_tokens(n_tokens) * kMaxBands) * 2),
      k_offset_(static_cast<size_t>(padded_tokens(n_tokens)) * 2),
      v_offset_(static_cast<size_t>(padded_tokens(n_tokens)) * 2),
      k_mean_(static_cast<size_t>(head_dim) * 2) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> scale(0.5F, 1.5F);
  const int padded = padded_tokens(n_tokens);
  slice.k_format = resolve(k, head_dim);
  slice.v_format = resolve(v, head_dim);
  const auto draw = [&](bool key, const SideFormat& format, AlignedBuffer& buffer) {
    auto* codes = reinterpret_cast<uint8_t*>(buffer.data());
    for (int t = 0; t < n_tokens; ++t) {
      if (format.halves())
        for (int j = 0; j < head_dim; ++j)
          halves(buffer)[key ? k_half_index(head_dim, t, j) : v_half_index(head_dim, t, j)] =
              float_to_half(normal(random));
      for (int band = 0, j = 0; band < format.stored_bands(); ++band) {
        const Codebook& book = codebook(format.grid, format.bands[band].bits);
        for (const int end = j + format.bands[band].n_dims; j < end; ++j)
          (key ? set_k_code : set_v_code)(codes, padded, format, t, j, nearest_code(format.grid, book, normal(random)));
      }
    }
    return codes;
  };
  const auto draw_scales = [&](const SideFormat& format, AlignedBuffer& buffer) -> const uint8_t* {
    auto* bytes = reinterpret_cast<uint8_t*>(buffer.data());
    for (int row = 0; row < format.n_scales(); ++row)
      for (int t = 0; t < n_tokens; ++t)
        set_scale(format, bytes, static_cast<size_t>(row * padded + t), float_to_half(scale(random)));
    return format.halves() ? nullptr : bytes;
  };
  const auto draw_offsets = [&](const SideFormat& format, AlignedBuffer& buffer) -> const uint16_t* {
    for (int t = 0; t < n_tokens; ++t) halves(buffer)[t] = float_to_half(normal(random));
    return format.offsets ? halves(buffer) : nullptr;
  };
  slice.k = draw(true, slice.k_format, k_);
  slice.v = draw(false, slice.v_format, v_);
  slice.k_scale = draw_scales(slice.k_format, k_scale_);
  slice.v_scale = draw_scales(slice.v_format, v_scale_);
  slice.k_offset = draw_offsets(slice.k_format, k_offset_);
  slice.v_offset = draw_offsets(slice.v_format, v_offset_);
  for (int j = 0; j < head_dim; ++j) halves(k_mean_)[j] = float_to_half(normal(random));
  if (!slice.k_format.halves() && centred) slice.k_mean = halves(k_mean_);
  slice.n_tokens = n_tokens;
}

std::vector<SideFormat> other_formats(int head_dim) {
  const auto bands = [head_dim](std::vector<Band> list, bool scale_per_band) {
    SideFormat format;
    format.scale_per_band = scale_per_band;
    for (const Band& band : list) format.bands[format.n_bands++] = band;
    if (format.bands[format.n_bands - 1].n_dims == kAllDims) {
      int left = head_dim;
      for (const Band& band : list) left -= band.n_dims;
      format.bands[format.n_bands - 1].n_dims = static_cast<int16_t>(left);
    }
    return format;
  };
  SideFormat symmetric = affine_band(3);
  symmetric.offsets = false;
  const auto with_bytes = [](SideFormat format) {
    format.byte_scales = true;
    return format;
  };
  const auto on_trellis = [](SideFormat format) {
    format.grid = Grid::kTrellis;
    return format;
  };
  return {on_trellis(one_band(4)),
          on_trellis(one_band(3)),
          on_trellis(with_bytes(one_band(2))),
          on_trellis(with_bytes(bands({{4, 16}, {3, 16}, {2, 16}, {0, kAllDims}}, false))),
          on_trellis(bands({{3, 32}, {2, kAllDims}}, false)),
          with_bytes(bands({{3, 16}, {2, kAllDims}}, false)),
          with_bytes(bands({{4, 16}, {2, 32}, {0, kAllDims}}, true)),
          bands({{4, 16}, {2, 32}, {0, kAllDims}}, false),
          bands({{3, 16}, {2, kAllDims}}, true),
          bands({{4, 16}, {3, 16}, {2, 16}, {4, kAllDims}}, false),
          bands({{2, 48}, {0, kAllDims}}, false),
          bands({{3, 16}, {4, 16}, {2, 16}, {0, kAllDims}}, true),
          affine_band(2),
          affine_band(4),
          symmetric};
}

std::string format_name(const SideFormat& format) {
  if (format.halves()) return "16";
  std::string text;
  for (int i = 0; i < format.n_bands; ++i)
    text += (i > 0 ? "+" : "") + std::to_string(format.bands[i].bits) +
            (format.n_bands > 1 ? "x" + std::to_string(format.bands[i].n_dims) : "");
  if (format.grid == Grid::kUniform) text += "u";
  if (format.grid == Grid::kTrellis) text += "t";
  if (format.offsets) text += "o";
  if (format.scale_per_band) text += "s";
  if (format.byte_scales) text += "b";
  return text;
}

std::vector<float> normal_values(std::mt19937& random, size_t n, float amplitude) {
  std::normal_distribution<float> normal(0.0F, amplitude);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<int64_t> runnable_targets() {
  std::vector<int64_t> targets;
  for (int64_t rest = hwy::SupportedTargets() & HWY_TARGETS; rest != 0; rest &= rest - 1)
    targets.push_back(rest & -rest);
  return targets;
}

UseTarget::UseTarget(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

UseTarget::~UseTarget() {
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace recalld::kernels
