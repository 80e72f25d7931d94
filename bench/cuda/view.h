// A view of coded pages in device memory, for timing: random codes, scales near 1.
#pragma once

#include <vector>

#include "kernels/cuda/attend.h"
#include "kernels/cuda/encode.h"

namespace recalld::bench {

struct ViewSpec {
  int bits = 4;
  kernels::Grid grid = kernels::Grid::kLloydMax;
  int head_dim = 128;
  int n_heads = 8;  // KV heads, of all sequences
  int n_keys = 32768;
  int page_tokens = 256;
};

kernels::SideFormat format_of(const ViewSpec& spec);

// One layer's pages.
struct DeviceView {
  kernels::cuda::DeviceBuffer memory;
  std::vector<std::vector<kernels::PageSlice>> problems;
  size_t coded_bytes = 0;  // codes, scales and means: what attention must read
};

Result<DeviceView> make_view(kernels::cuda::Stream& stream, const ViewSpec& spec, unsigned seed);

}  // namespace recalld::bench
