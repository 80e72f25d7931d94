// Pages of the host in device memory, for the device test and the bench.
#pragma once

#include <vector>

#include "kernels/attend.h"
#include "kernels/cuda/memory.h"

namespace recalld::kernels::cuda {

struct DevicePage {
  DeviceBuffer memory;
  PageSlice slice;  // as the host's, with addresses in memory
};

// Returns when the copy is done.
Result<DevicePage> upload_page(Stream& stream, const PageSlice& page, int head_dim);

}  // namespace recalld::kernels::cuda
