// CUDA's errors as Status. For the .cu files alone.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "base/status.h"

namespace recalld::kernels::cuda {

// call: what was called, and on what ("allocating 4096 bytes of device memory for pages").
inline Status to_status(cudaError_t error, const std::string& call) {
  if (error == cudaSuccess) return ok_status();
  const std::string message = call + " failed: " + cudaGetErrorString(error);
  switch (error) {
    case cudaErrorMemoryAllocation:
      return resource_exhausted(message + "; lower the cache's device budget");
    case cudaErrorNoDevice:
    case cudaErrorInsufficientDriver:
    case cudaErrorDevicesUnavailable:
      return unavailable(message + "; the CPU kernels do the same work");
    default:
      return internal_error(message);
  }
}

inline cudaStream_t stream_of(void* handle) { return static_cast<cudaStream_t>(handle); }

// The error of a launch just made.
inline Status launched(const char* kernel) {
  return to_status(cudaGetLastError(), std::string("launching the kernel ") + kernel);
}

}  // namespace recalld::kernels::cuda
