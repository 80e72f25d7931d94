#include "cache/memory_pool.h"

#include <utility>

namespace recalld::cache {

PooledBuffer::PooledBuffer(std::shared_ptr<MemoryPool> pool, size_t size) : pool_(std::move(pool)), buffer_(size) {}

PooledBuffer::PooledBuffer(PooledBuffer&& other) noexcept
    : pool_(std::move(other.pool_)), buffer_(std::exchange(other.buffer_, AlignedBuffer())) {}

PooledBuffer& PooledBuffer::operator=(PooledBuffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = std::move(other.pool_);
  buffer_ = std::exchange(other.buffer_, AlignedBuffer());
  return *this;
}

PooledBuffer::~PooledBuffer() { release(); }

void PooledBuffer::release() {
  if (pool_ != nullptr) pool_->give_back(buffer_.size());
  pool_.reset();
}

std::shared_ptr<MemoryPool> MemoryPool::create(size_t limit) {
  struct Access : MemoryPool {
    explicit Access(size_t size) : MemoryPool(size) {}
  };
  return std::make_shared<Access>(limit);
}

Status MemoryPool::take(size_t size) {
  size_t used = used_.load(std::memory_order_relaxed);
  do {
    if (limit_ != 0 && used + size > limit_)
      return resource_exhausted("KV memory limit reached: " + std::to_string(size) + " bytes wanted, " +
                                std::to_string(used) + " of " + std::to_string(limit_) +
                                " in use; raise memory.ram_bytes");
  } while (!used_.compare_exchange_weak(used, used + size, std::memory_order_relaxed));
  size_t peak = peak_.load(std::memory_order_relaxed);
  while (peak < used + size && !peak_.compare_exchange_weak(peak, used + size, std::memory_order_relaxed)) {
  }
  return ok_status();
}

Result<PooledBuffer> MemoryPool::allocate(size_t size) {
  RECALLD_RETURN_IF_ERROR(take(size));
  return PooledBuffer(shared_from_this(), size);
}

Result<PooledBuffer> MemoryPool::adopt(AlignedBuffer buffer) {
  RECALLD_RETURN_IF_ERROR(take(buffer.size()));
  PooledBuffer pooled(shared_from_this(), 0);
  pooled.buffer_ = std::move(buffer);
  return pooled;
}

}  // namespace recalld::cache
