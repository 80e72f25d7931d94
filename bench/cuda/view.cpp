#include "bench/cuda/view.h"

#include <random>

namespace recalld::bench {

using kernels::PageSlice;

kernels::SideFormat format_of(const ViewSpec& spec) {
  kernels::SideFormat format = kernels::one_band(spec.bits, spec.head_dim);
  format.grid = spec.grid;
  return format;
}

Result<DeviceView> make_view(kernels::cuda::Stream& stream, const ViewSpec& spec, unsigned seed) {
  const kernels::SideFormat format = format_of(spec);
  const size_t codes = round_up(kernels::side_bytes(spec.page_tokens, spec.head_dim, format), 64);
  const auto scales = static_cast<size_t>(2 * kernels::padded_tokens(spec.page_tokens));
  const auto mean = static_cast<size_t>(2 * spec.head_dim);
  const size_t page = round_up(2 * (codes + scales) + mean, 64);
  const int n_pages = (spec.n_keys + spec.page_tokens - 1) / spec.page_tokens;
  const auto n = static_cast<size_t>(n_pages * spec.n_heads);

  std::mt19937 random(seed);
  std::vector<std::byte> bytes(page * n);
  const auto store_half = [&bytes](size_t at, float value) {
    const uint16_t half = float_to_half(value);
    std::memcpy(bytes.data() + at, &half, sizeof half);
  };
  for (size_t at = 0; at < bytes.size(); at += 4) {
    const uint32_t word = random();
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  for (size_t i = 0; i < n; ++i) {
    const size_t numbers = i * page + 2 * codes;
    for (size_t at = 0; at < 2 * scales; at += 2)
      store_half(numbers + at, 0.05F + static_cast<float>(random() % 16) / 256.0F);
    for (size_t at = 0; at < mean; at += 2) store_half(numbers + 2 * scales + at, 0.01F);
  }

  DeviceView view;
  RECALLD_ASSIGN_OR_RETURN(view.memory,
                           kernels::cuda::upload_all(stream, bytes.data(), bytes.size(), "the pages of a bench"));
  RECALLD_RETURN_IF_ERROR(stream.synchronize());
  view.coded_bytes = n * (2 * (codes + scales) + mean);
  view.problems.resize(static_cast<size_t>(spec.n_heads));
  for (size_t i = 0; i < n; ++i) {
    const auto* at = view.memory.as<const uint8_t>() + i * page;
    const auto* numbers = reinterpret_cast<const uint16_t*>(at + 2 * codes);
    const int index = static_cast<int>(i) % n_pages;
    PageSlice slice;
    slice.k_format = slice.v_format = format;
    slice.k = at;
    slice.v = at + codes;
    slice.k_scale = at + 2 * codes;
    slice.v_scale = slice.k_scale + scales;
    slice.k_mean = numbers + scales;
    slice.n_tokens = std::min(spec.page_tokens, spec.n_keys - index * spec.page_tokens);
    slice.view_start = index * spec.page_tokens;
    view.problems[i / static_cast<size_t>(n_pages)].push_back(slice);
  }
  return view;
}

}  // namespace recalld::bench
