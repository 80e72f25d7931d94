// The 16-bit rows of a sequence that are not in pages yet: appended step by step, cut at either end.
//
// Rows live in blocks of kBlockRows tokens, all layers in one block, in the 16-bit layouts of kernels/layout.h, so that
// the kernels read them as they read 16-bit pages. Not thread-safe, but for write_row on different rows or heads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cache/memory_pool.h"
#include "cache/shape.h"
#include "kernels/attend.h"

namespace recalld::cache {

class WorkingRows {
 public:
  static constexpr int32_t kBlockRows = 64;

  WorkingRows(const CacheShape& shape, std::shared_ptr<MemoryPool> pool);

  int32_t size() const { return size_; }
  size_t bytes() const { return blocks_.size() * block_bytes_; }

  // Adds n zeroed rows at the end; all or none.
  Status grow(int32_t n);
  // Drops rows from the end until `size` are left; their memory is given back.
  void shrink(int32_t size);
  // Drops the n oldest rows; the others keep their order and become rows 0, 1, ...
  Status drop_front(int32_t n);

  // One row of one layer: k, v [n_kv_heads][head_dim].
  void write_row(int layer, int32_t row, const float* k, const float* v);
  void read_row(int layer, int32_t row, float* k, float* v) const;

  // The rows of one KV head as 16-bit page slices (view_start counts from `first_position`).
  void append_slices(int layer, int head, int32_t first_position, std::vector<kernels::PageSlice>& out) const;

 private:
  uint16_t* k_data(size_t block, int layer, int head) const;
  uint16_t* v_data(size_t block, int layer, int head) const;

  const CacheShape& shape_;
  std::shared_ptr<MemoryPool> pool_;
  std::vector<size_t> layer_offset_;  // of each layer in a block, bytes
  size_t block_bytes_ = 0;
  mutable std::vector<PooledBuffer> blocks_;
  int32_t size_ = 0;
};

}  // namespace recalld::cache
