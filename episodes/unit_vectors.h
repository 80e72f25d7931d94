// Vectors of a session's segments, in half precision, and the little arithmetic on them. What is stored is what is
// reckoned with: a vector is rounded when it comes in, so one that was read back from disk is the same vector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace recalld::episodes {

// Products are added in one fixed order. Equal lengths.
float dot(std::span<const float> a, std::span<const float> b);

// a / |a|; stays zero when a is zero.
void normalize(std::span<float> a);

// False for the zero vector.
bool has_direction(std::span<const float> a);

// Grows at the end; not thread-safe while it does.
class UnitVectors {
 public:
  explicit UnitVectors(int32_t dim) : dim_(static_cast<size_t>(dim)) {}

  size_t size() const { return halves_.size() / dim_; }
  int32_t dim() const { return static_cast<int32_t>(dim_); }

  void add(std::span<const float> unit);            // [dim]
  void add_halves(std::span<const std::byte> row);  // [dim] little-endian half floats, as halves() gives them

  // Row i as floats: out [dim].
  void get(size_t i, std::span<float> out) const;
  // Row i as it is stored: 2 * dim bytes, valid until the next add.
  std::span<const std::byte> halves(size_t i) const;

 private:
  size_t dim_;
  std::vector<uint16_t> halves_;  // [size, dim]
};

}  // namespace recalld::episodes
