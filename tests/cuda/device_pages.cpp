#include "tests/cuda/device_pages.h"

#include <cstring>

namespace recalld::kernels::cuda {

Result<DevicePage> upload_page(Stream& stream, const PageSlice& page, int head_dim) {
  std::vector<std::byte> bytes;
  struct Section {
    const void* from;
    size_t at;
  };
  const auto append = [&bytes](const void* from, size_t size) -> Section {
    const size_t at = round_up(bytes.size(), 64);
    if (from == nullptr) return {nullptr, 0};
    bytes.resize(at + size);
    std::memcpy(bytes.data() + at, from, size);
    return {from, at};
  };
  const auto padded = static_cast<size_t>(padded_tokens(page.n_tokens));
  const Section k = append(page.k, side_bytes(page.n_tokens, head_dim, page.k_format));
  const Section v = append(page.v, side_bytes(page.n_tokens, head_dim, page.v_format));
  const Section k_scale = append(page.k_scale, scales_bytes(page.k_format, page.n_tokens));
  const Section v_scale = append(page.v_scale, scales_bytes(page.v_format, page.n_tokens));
  const Section k_offset = append(page.k_offset, 2 * padded);
  const Section v_offset = append(page.v_offset, 2 * padded);
  const Section k_mean = append(page.k_mean, 2 * static_cast<size_t>(head_dim));

  DevicePage result;
  RECALLD_ASSIGN_OR_RETURN(result.memory, upload_all(stream, bytes.data(), bytes.size(), "a page"));
  RECALLD_RETURN_IF_ERROR(stream.synchronize());
  const auto place = [&result]<class T>(const Section& section, const T*& to) {
    to = section.from == nullptr ? nullptr : reinterpret_cast<const T*>(result.memory.as<std::byte>() + section.at);
  };
  result.slice = page;
  place(k, result.slice.k);
  place(v, result.slice.v);
  place(k_scale, result.slice.k_scale);
  place(v_scale, result.slice.v_scale);
  place(k_offset, result.slice.k_offset);
  place(v_offset, result.slice.v_offset);
  place(k_mean, result.slice.k_mean);
  return result;
}

}  // namespace recalld::kernels::cuda
