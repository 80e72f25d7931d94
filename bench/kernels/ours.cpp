#include "bench/kernels/ours.h"

#include <algorithm>
#include <cmath>

namespace recalld::bench {
namespace {

constexpr uint16_t kHalfOne = 0x3c00;

// Any bytes are valid codes; halves are drawn around 1.
void fill_side(std::mt19937& random, AlignedBuffer& buffer, bool halves_only) {
  for (std::byte& byte : buffer.span()) byte = static_cast<std::byte>(random());
  if (!halves_only) return;
  auto* halves = reinterpret_cast<uint16_t*>(buffer.data());
  for (size_t i = 0; i < buffer.size() / 2; ++i) halves[i] = static_cast<uint16_t>((halves[i] & 0x83ff) | kHalfOne);
}

}  // namespace

OurAttention::OurAttention(const Problem& problem, const kernels::SideFormat& format) : problem_(problem) {
  std::mt19937 random(1);
  const auto new_buffer = [&](size_t size) { return buffers_.emplace_back(size).data(); };
  pages_.resize(static_cast<size_t>(problem.n_layers) * problem.n_kv_heads);
  for (std::vector<kernels::PageSlice>& pages : pages_) {
    for (int start = 0; start < problem.depth; start += kernels::kMaxPageTokens) {
      kernels::PageSlice page;
      page.n_tokens = std::min(kernels::kMaxPageTokens, problem.depth - start);
      page.view_start = start;
      page.k_format = page.v_format = kernels::resolve(format, problem.head_dim);
      const size_t size = kernels::side_bytes(page.n_tokens, problem.head_dim, page.k_format);
      page.k = reinterpret_cast<const uint8_t*>(new_buffer(size));
      fill_side(random, buffers_.back(), format.halves());
      page.v = reinterpret_cast<const uint8_t*>(new_buffer(size));
      fill_side(random, buffers_.back(), format.halves());
      if (!format.halves()) {
        auto* scales = reinterpret_cast<uint16_t*>(
            new_buffer(static_cast<size_t>(kernels::padded_tokens(page.n_tokens)) * sizeof(uint16_t)));
        std::fill_n(scales, page.n_tokens, kHalfOne);
        page.k_scale = page.v_scale = reinterpret_cast<const uint8_t*>(scales);
        if (format.offsets) page.k_offset = page.v_offset = scales;
      }
      pages.push_back(page);
    }
  }
  for (int i = 0; i < problem.n_queries; ++i) positions_.push_back(problem.depth - problem.n_queries + i);
  const size_t n_rows = static_cast<size_t>(problem.n_queries) * problem.n_heads;
  std::normal_distribution<float> normal;
  q_.resize(n_rows * problem.head_dim);
  for (float& x : q_) x = normal(random);
  m_.resize(n_rows);
  l_.resize(n_rows);
  acc_.resize(q_.size());
}

void OurAttention::run(int layer) {
  const int group = problem_.n_heads / problem_.n_kv_heads;
  const int n_rows = problem_.n_queries * group;
  const kernels::AttendShape shape{problem_.head_dim, group, 1.0F / std::sqrt(static_cast<float>(problem_.head_dim))};
  for (int head = 0; head < problem_.n_kv_heads; ++head) {
    const size_t row = static_cast<size_t>(head) * n_rows;
    const size_t at = row * problem_.head_dim;
    const kernels::AttendState state{1, m_.data() + row, l_.data() + row, acc_.data() + at};
    kernels::reset_state(state, n_rows, problem_.head_dim);
    const kernels::QueryBlock queries{problem_.n_queries, positions_.data(), q_.data() + at};
    kernels::attend(shape, queries, pages_[static_cast<size_t>(layer) * problem_.n_kv_heads + head], state, scratch_);
  }
}

}  // namespace recalld::bench
