// A copy of bytes at a multiple of 64, without a byte behind them that may be touched: AddressSanitizer sees a read
// past the last.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>

namespace recalld::testing {

class ExactBuffer {
 public:
  explicit ExactBuffer(size_t size)
      : data_(static_cast<std::byte*>(::operator new(std::max<size_t>(size, 1), std::align_val_t(64)))), size_(size) {}
  explicit ExactBuffer(std::span<const std::byte> bytes) : ExactBuffer(bytes.size()) {
    std::ranges::copy(bytes, data_.get());
  }
  std::span<std::byte> span() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t(64)); }
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_;
};

}  // namespace recalld::testing
