#include "kernels/cuda/memory.h"

#include "kernels/cuda/error.h"

namespace recalld::kernels::cuda {

Result<DeviceBuffer> DeviceBuffer::allocate(size_t size, const char* what) {
  DeviceBuffer buffer;
  // An empty buffer still has an address.
  RECALLD_RETURN_IF_ERROR(to_status(cudaMalloc(&buffer.data_, size > 0 ? size : 1),
                                    "allocating " + std::to_string(size) + " bytes of device memory for " + what));
  buffer.size_ = size;
  return Result<DeviceBuffer>(std::move(buffer));
}

DeviceBuffer::~DeviceBuffer() {
  if (data_ != nullptr) cudaFree(data_);
}

Result<Stream> Stream::create() {
  Stream stream;
  int device = 0;
  RECALLD_RETURN_IF_ERROR(to_status(cudaGetDevice(&device), "finding a CUDA device"));
  RECALLD_RETURN_IF_ERROR(
      to_status(cudaDeviceGetAttribute(&stream.n_processors_, cudaDevAttrMultiProcessorCount, device),
                "asking the CUDA device for its multiprocessors"));
  cudaStream_t handle = nullptr;
  RECALLD_RETURN_IF_ERROR(
      to_status(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "creating a CUDA stream"));
  stream.handle_ = handle;
  return Result<Stream>(std::move(stream));
}

Stream::~Stream() {
  if (handle_ != nullptr) cudaStreamDestroy(stream_of(handle_));
}

Status Stream::upload(void* to, const void* from, size_t size) {
  return to_status(cudaMemcpyAsync(to, from, size, cudaMemcpyHostToDevice, stream_of(handle_)),
                   "copying " + std::to_string(size) + " bytes to the device");
}

Status Stream::download(void* to, const void* from, size_t size) {
  return to_status(cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToHost, stream_of(handle_)),
                   "copying " + std::to_string(size) + " bytes from the device");
}

Status Stream::copy(void* to, const void* from, size_t size) {
  return to_status(cudaMemcpyAsync(to, from, size, cudaMemcpyDeviceToDevice, stream_of(handle_)),
                   "copying " + std::to_string(size) + " bytes within the device");
}

Status Stream::clear(void* to, size_t size) {
  return to_status(cudaMemsetAsync(to, 0, size, stream_of(handle_)),
                   "clearing " + std::to_string(size) + " bytes of the device");
}

Status Stream::synchronize() {
  return to_status(cudaStreamSynchronize(stream_of(handle_)), "waiting for the CUDA stream");
}

Result<Event> Event::create() {
  cudaEvent_t handle = nullptr;
  RECALLD_RETURN_IF_ERROR(to_status(cudaEventCreate(&handle), "creating a CUDA event"));
  Event event;
  event.handle_ = handle;
  return Result<Event>(std::move(event));
}

Event::~Event() {
  if (handle_ != nullptr) cudaEventDestroy(static_cast<cudaEvent_t>(handle_));
}

Status Event::record(Stream& stream) {
  return to_status(cudaEventRecord(static_cast<cudaEvent_t>(handle_), stream_of(stream.handle())),
                   "recording a CUDA event");
}

Result<float> Event::since(const Event& start) {
  float milliseconds = 0;
  RECALLD_RETURN_IF_ERROR(
      to_status(cudaEventSynchronize(static_cast<cudaEvent_t>(handle_)), "waiting for a CUDA event"));
  RECALLD_RETURN_IF_ERROR(to_status(
      cudaEventElapsedTime(&milliseconds, static_cast<cudaEvent_t>(start.handle_), static_cast<cudaEvent_t>(handle_)),
      "reading the time between two CUDA events"));
  return milliseconds;
}

}  // namespace recalld::kernels::cuda
