#include "cache/working_rows.h"

#include <cstring>

namespace recalld::cache {
namespace {

// Halves of one side of one head in a block.
size_t side_halves(const LayerShape& layer) {
  return static_cast<size_t>(WorkingRows::kBlockRows) * static_cast<size_t>(layer.head_dim);
}

}  // namespace

WorkingRows::WorkingRows(const CacheShape& shape, std::shared_ptr<MemoryPool> pool)
    : shape_(shape), pool_(std::move(pool)) {
  for (const LayerShape& layer : shape.layers) {
    layer_offset_.push_back(block_bytes_);
    block_bytes_ += side_halves(layer) * 2 * static_cast<size_t>(layer.n_kv_heads) * sizeof(uint16_t);
  }
}

Status WorkingRows::grow(int32_t n) {
  const size_t wanted = static_cast<size_t>(size_ + n + kBlockRows - 1) / kBlockRows;
  const size_t before = blocks_.size();
  while (blocks_.size() < wanted) {
    auto block = pool_->allocate(block_bytes_);
    if (!block.ok()) {
      blocks_.resize(before);
      return block.status();
    }
    blocks_.push_back(std::move(block).value());
  }
  size_ += n;
  return ok_status();
}

void WorkingRows::shrink(int32_t size) {
  size_ = size;
  blocks_.resize(static_cast<size_t>(size + kBlockRows - 1) / kBlockRows);
}

Status WorkingRows::drop_front(int32_t n) {
  const int32_t whole = n / kBlockRows;
  blocks_.erase(blocks_.begin(), blocks_.begin() + whole);
  size_ -= whole * kBlockRows;
  const int32_t rest = n - whole * kBlockRows;
  if (rest == 0) return ok_status();
  for (size_t layer_index = 0; layer_index < shape_.layers.size(); ++layer_index) {
    const LayerShape& layer = shape_.layers[layer_index];
    const int id = static_cast<int>(layer_index);
    for (int head = 0; head < layer.n_kv_heads; ++head) {
      for (int32_t to = 0; to + rest < size_; ++to) {
        const int32_t from = to + rest;
        const auto source = static_cast<size_t>(from / kBlockRows), target = static_cast<size_t>(to / kBlockRows);
        uint16_t* k_target = k_data(target, id, head);
        const uint16_t* k_source = k_data(source, id, head);
        for (int dim = 0; dim < layer.head_dim; ++dim)
          k_target[kernels::k_half_index(layer.head_dim, to % kBlockRows, dim)] =
              k_source[kernels::k_half_index(layer.head_dim, from % kBlockRows, dim)];
        std::memcpy(v_data(target, id, head) + kernels::v_half_index(layer.head_dim, to % kBlockRows, 0),
                    v_data(source, id, head) + kernels::v_half_index(layer.head_dim, from % kBlockRows, 0),
                    static_cast<size_t>(layer.head_dim) * sizeof(uint16_t));
      }
    }
  }
  shrink(size_ - rest);
  return ok_status();
}

uint16_t* WorkingRows::k_data(size_t block, int layer, int head) const {
  const LayerShape& shape = shape_.layers[static_cast<size_t>(layer)];
  return reinterpret_cast<uint16_t*>(blocks_[block].data() + layer_offset_[static_cast<size_t>(layer)]) +
         side_halves(shape) * 2 * static_cast<size_t>(head);
}

uint16_t* WorkingRows::v_data(size_t block, int layer, int head) const {
  return k_data(block, layer, head) + side_halves(shape_.layers[static_cast<size_t>(layer)]);
}

void WorkingRows::write_row(int layer, int32_t row, const float* k, const float* v) {
  const LayerShape& shape = shape_.layers[static_cast<size_t>(layer)];
  const auto block = static_cast<size_t>(row / kBlockRows);
  const int32_t at = row % kBlockRows;
  for (int head = 0; head < shape.n_kv_heads; ++head) {
    uint16_t* k_to = k_data(block, layer, head);
    uint16_t* v_to = v_data(block, layer, head);
    const float* k_from = k + static_cast<ptrdiff_t>(head) * shape.head_dim;
    const float* v_from = v + static_cast<ptrdiff_t>(head) * shape.head_dim;
    for (int dim = 0; dim < shape.head_dim; ++dim) {
      k_to[kernels::k_half_index(shape.head_dim, at, dim)] = float_to_half(k_from[dim]);
      v_to[kernels::v_half_index(shape.head_dim, at, dim)] = float_to_half(v_from[dim]);
    }
  }
}

void WorkingRows::read_row(int layer, int32_t row, float* k, float* v) const {
  const LayerShape& shape = shape_.layers[static_cast<size_t>(layer)];
  const auto block = static_cast<size_t>(row / kBlockRows);
  const int32_t at = row % kBlockRows;
  for (int head = 0; head < shape.n_kv_heads; ++head) {
    const uint16_t* k_from = k_data(block, layer, head);
    const uint16_t* v_from = v_data(block, layer, head);
    for (int dim = 0; dim < shape.head_dim; ++dim) {
      const ptrdiff_t to = static_cast<ptrdiff_t>(head) * shape.head_dim + dim;
      k[to] = half_to_float(k_from[kernels::k_half_index(shape.head_dim, at, dim)]);
      v[to] = half_to_float(v_from[kernels::v_half_index(shape.head_dim, at, dim)]);
    }
  }
}

void WorkingRows::append_slices(int layer, int head, int32_t first_position,
                                std::vector<kernels::PageSlice>& out) const {
  for (size_t block = 0; block < blocks_.size(); ++block) {
    kernels::PageSlice slice;
    slice.k = reinterpret_cast<const uint8_t*>(k_data(block, layer, head));
    slice.v = reinterpret_cast<const uint8_t*>(v_data(block, layer, head));
    const auto first = static_cast<int32_t>(block) * kBlockRows;
    slice.n_tokens = std::min(kBlockRows, size_ - first);
    slice.view_start = first_position + first;
    if (slice.n_tokens > 0) out.push_back(slice);
  }
}

}  // namespace recalld::cache
