// The GPU, if there is one. Built with nvcc when it is found, else as a stand-in that reports none.
#pragma once

#include <string>
#include <vector>

namespace recalld::kernels::cuda {

struct Device {
  std::string name;
  size_t memory_bytes = 0;
  int major = 0, minor = 0;  // compute capability
};

// True when this binary contains the CUDA kernels.
bool compiled();

// The devices that are usable now; empty without a driver or a device.
std::vector<Device> devices();

// Adds `add` to each of n values on the first device and reads them back: shows that kernels of this build run there.
// False when there is no device or a call fails.
bool self_test(int n, int add);

}  // namespace recalld::kernels::cuda
