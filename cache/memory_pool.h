// A hard limit on the bytes of KV in memory, and the count of what is held.
//
// Thread-safe. The pool outlives its buffers through shared ownership.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/bytes.h"
#include "base/status.h"

namespace recalld::cache {

class MemoryPool;

// Zero-filled, 64-byte aligned memory drawn from a pool; given back when destroyed. Movable.
class PooledBuffer {
 public:
  PooledBuffer() = default;
  PooledBuffer(PooledBuffer&& other) noexcept;
  PooledBuffer& operator=(PooledBuffer&& other) noexcept;
  PooledBuffer(const PooledBuffer&) = delete;
  PooledBuffer& operator=(const PooledBuffer&) = delete;
  ~PooledBuffer();

  std::byte* data() { return buffer_.data(); }
  const std::byte* data() const { return buffer_.data(); }
  size_t size() const { return buffer_.size(); }
  std::span<std::byte> span() { return buffer_.span(); }
  std::span<const std::byte> span() const { return buffer_.span(); }

 private:
  friend class MemoryPool;
  PooledBuffer(std::shared_ptr<MemoryPool> pool, size_t size);
  void release();

  std::shared_ptr<MemoryPool> pool_;
  AlignedBuffer buffer_;
};

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  // limit: bytes that may be held at once; 0 for no limit.
  static std::shared_ptr<MemoryPool> create(size_t limit);

  // kResourceExhausted, naming size, use and limit, when the limit would be passed.
  Result<PooledBuffer> allocate(size_t size);
  // Takes over a buffer that exists already; counted from now on, under the same limit.
  Result<PooledBuffer> adopt(AlignedBuffer buffer);

  size_t limit() const { return limit_; }
  size_t used() const { return used_.load(std::memory_order_relaxed); }
  // The most that was ever held at once.
  size_t peak() const { return peak_.load(std::memory_order_relaxed); }

 private:
  friend class PooledBuffer;
  explicit MemoryPool(size_t limit) : limit_(limit) {}
  Status take(size_t size);
  void give_back(size_t size) { used_.fetch_sub(size, std::memory_order_relaxed); }

  const size_t limit_;
  std::atomic<size_t> used_{0};
  std::atomic<size_t> peak_{0};
};

}  // namespace recalld::cache
