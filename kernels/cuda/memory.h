// Memory, streams and events of the current CUDA device, owned by the objects that stand for them. No state is global:
// what a call works on is passed in.
//
// Errors: kUnavailable without a device or in a build without CUDA, kResourceExhausted when the device's memory is
// full, kInternal for anything else; messages name the call that failed. Work on a stream is asynchronous: an error of
// a kernel shows in a later call on it, at the latest in synchronize(). Threads: an object may be used by one thread at
// a time; freeing waits for nothing, so synchronize before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/status.h"

namespace recalld::kernels::cuda {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // size bytes aligned to 256, contents undefined. what: for the message when there is no room ("pages").
  static Result<DeviceBuffer> allocate(size_t size, const char* what);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  size_t size() const { return size_; }
  void* data() const { return data_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

// Work in order.
class Stream {
 public:
  static Result<Stream> create();
  ~Stream();
  Stream(Stream&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), n_processors_(other.n_processors_) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(handle_, other.handle_);
    n_processors_ = other.n_processors_;
    return *this;
  }

  // Host memory must stay as it is until synchronize().
  Status upload(void* to, const void* from, size_t size);
  Status download(void* to, const void* from, size_t size);
  Status copy(void* to, const void* from, size_t size);  // within the device
  Status clear(void* to, size_t size);                   // to zeros
  // Waits until all is done.
  Status synchronize();

  void* handle() const { return handle_; }            // a cudaStream_t
  int n_processors() const { return n_processors_; }  // multiprocessors of the device

 private:
  Stream() = default;
  void* handle_ = nullptr;
  int n_processors_ = 0;
};

// A point in a stream, for timing.
class Event {
 public:
  static Result<Event> create();
  ~Event();
  Event(Event&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  Status record(Stream& stream);
  // Milliseconds from `start` to this, both recorded; waits for this.
  Result<float> since(const Event& start);

 private:
  Event() = default;
  void* handle_ = nullptr;
};

// A buffer of the bytes of n values, uploaded.
template <class T>
Result<DeviceBuffer> upload_all(Stream& stream, const T* values, size_t n, const char* what) {
  RECALLD_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::allocate(n * sizeof(T), what));
  RECALLD_RETURN_IF_ERROR(stream.upload(buffer.data(), values, n * sizeof(T)));
  return Result<DeviceBuffer>(std::move(buffer));
}

}  // namespace recalld::kernels::cuda
