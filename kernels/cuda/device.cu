#include "kernels/cuda/device.h"

#include <cuda_runtime.h>

#include <memory>

namespace recalld::kernels::cuda {
namespace {

__global__ void add_to_each(int* values, int n, int add) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) values[i] += add;
}

struct Free {
  void operator()(int* memory) const { cudaFree(memory); }
};

}  // namespace

bool compiled() { return true; }

std::vector<Device> devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return {};
  std::vector<Device> found;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    found.push_back({properties.name, properties.totalGlobalMem, properties.major, properties.minor});
  }
  return found;
}

bool self_test(int n, int add) {
  int* memory = nullptr;
  if (cudaMalloc(&memory, static_cast<size_t>(n) * sizeof(int)) != cudaSuccess) return false;
  const std::unique_ptr<int, Free> owner(memory);
  std::vector<int> values(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<size_t>(i)] = i;
  const size_t bytes = values.size() * sizeof(int);
  if (cudaMemcpy(memory, values.data(), bytes, cudaMemcpyHostToDevice) != cudaSuccess) return false;
  add_to_each<<<(n + 255) / 256, 256>>>(memory, n, add);
  if (cudaMemcpy(values.data(), memory, bytes, cudaMemcpyDeviceToHost) != cudaSuccess) return false;
  for (int i = 0; i < n; ++i)
    if (values[static_cast<size_t>(i)] != i + add) return false;
  return true;
}

}  // namespace recalld::kernels::cuda
