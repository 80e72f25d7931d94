#include "tests/kernels/test_page.h"

#include <hwy/highway.h>
#include <algorithm>

namespace recalld::kernels {
namespace {

int nearest_code(const Codebook& book, float x) {
  const float* end = book.boundaries + (1 << book.bits) - 1;
  return static_cast<int>(std::lower_bound(book.boundaries, end, x) - book.boundaries);
}

uint16_t* halves(AlignedBuffer& buffer) { return reinterpret_cast<uint16_t*>(buffer.data()); }

}  // namespace

TestPage::TestPage(std::mt19937& random, int n_tokens, int head_dim, int k_bits, int v_bits, bool centred)
    : k_(side_bytes(n_tokens, head_dim, k_bits)),
      v_(side_bytes(n_tokens, head_dim, v_bits)),
      k_scale_(static_cast<size_t>(padded_tokens(n_tokens)) * 2),
      v_scale_(static_cast<size_t>(padded_tokens(n_tokens)) * 2),
      k_mean_(static_cast<size_t>(head_dim) * 2) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> scale(0.5F, 1.5F);
  const int padded = padded_tokens(n_tokens);
  uint8_t* k = reinterpret_cast<uint8_t*>(k_.data());
  uint8_t* v = reinterpret_cast<uint8_t*>(v_.data());
  for (int t = 0; t < n_tokens; ++t) {
    halves(k_scale_)[t] = float_to_half(scale(random));
    halves(v_scale_)[t] = float_to_half(scale(random));
    for (int j = 0; j < head_dim; ++j) {
      if (k_bits == 16)
        halves(k_)[k_half_index(head_dim, t, j)] = float_to_half(normal(random));
      else
        set_k_code(k, padded, head_dim, k_bits, t, j, nearest_code(lloyd_max(k_bits), normal(random)));
      if (v_bits == 16)
        halves(v_)[v_half_index(head_dim, t, j)] = float_to_half(normal(random));
      else
        set_v_code(v, padded, head_dim, v_bits, t, j, nearest_code(lloyd_max(v_bits), normal(random)));
    }
  }
  for (int j = 0; j < head_dim; ++j) halves(k_mean_)[j] = float_to_half(normal(random));

  slice.k_bits = k_bits;
  slice.v_bits = v_bits;
  slice.k = k;
  slice.v = v;
  slice.n_tokens = n_tokens;
  if (k_bits != 16) slice.k_scale = halves(k_scale_);
  if (v_bits != 16) slice.v_scale = halves(v_scale_);
  if (k_bits != 16 && centred) slice.k_mean = halves(k_mean_);
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
